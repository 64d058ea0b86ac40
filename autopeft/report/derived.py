"""Derived points beside the trials, as rows and in words."""

from typing import Any

from autopeft.report.summary import Summary

#: What has to stand wherever derived points are shown.
WORDS = (
    "Made of the weights of a trial and measured after the search: not on the front, and "
    "counted neither in hypervolume nor in the picks."
)


def derived_rows(summary: Summary) -> list[dict[str, Any]]:
    """Return the derived points as flat rows, in the order they were made."""
    methods = {r.number: r.spec.configuration.method for r in summary.records}
    return [
        {
            "trial": point.trial,
            "method": methods.get(point.trial, ""),
            "made": point.how,
            point.metric: round(point.quality, 4),
            f"{point.metric}_before": round(point.quality_before, 4),
            "adapter_params": point.adapter_params,
            "params_before": point.params_before,
            "bytes": point.bytes,
            "bytes_before": point.bytes_before,
        }
        for point in summary.derived
    ]
