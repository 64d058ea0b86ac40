"""`autopeft estimate --space`: what the points of a space cost, as a plot and tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from autopeft.api.space_costs import ALL, space_costs
from autopeft.cli.histogram import log_histogram
from autopeft.cli.output import console, print_notes, print_rows
from autopeft.cost.cost import percent_of_base
from autopeft.cost.options import StepOptions
from autopeft.errors import RequestError
from autopeft.report.space_figure import check_figure_file, write_space_figure
from autopeft.space.wording import count_text

#: Columns of a table by their names in the result; short, for 80 columns.
_COLUMNS = {
    "least": "min",
    "quarter": "25%",
    "median": "median",
    "three_quarters": "75%",
    "most": "max",
}
_MEBI, _GIGA = 2**20, 10**9


def check_one_of(config: Path | None, space: str | None, of_spaces: dict[str, Any]) -> None:
    """Check that one thing is asked, and nothing of a space where there is none.

    Args:
        config: A configuration.
        space: A space.
        of_spaces: Values of options that say something of a space alone.

    Raises:
        RequestError: If neither or both are given, or an option does not go with them.
    """
    if (config is None) == (space is None):
        raise RequestError("Give either a configuration with --config or a space with --space.")
    given = [name for name, value in of_spaces.items() if value is not None]
    if space is None and given:
        raise RequestError(f"{given[0]} is for --space: leave it out with --config.")


def space_costs_command(
    model: str,
    space: str,
    settings: dict[str, Any],
    step: dict[str, Any],
    to: Path | None,
    output: str,
) -> None:
    """Print how the costs of a space are spread; write a figure if there is a place for it.

    Args:
        model: Name of the model.
        space: Name of the space.
        settings: What else `space_costs` takes.
        step: Fields of `StepOptions`.
        to: File for a figure, if one is wanted.
        output: `table`, `json` or `csv`.
    """
    if to is not None:
        check_figure_file(to)
    result = space_costs(model, space, **settings, options=StepOptions(**step))
    if output == "table":
        _print_plot(result)
        _print_tables(result)
    else:
        print_rows(result["costs"], output, data=result)
    print_notes(result["notes"])
    if to is not None:
        write_space_figure(_by_method(result), _title(result), to)
        console(stderr=True).print(f"The figure is in {to}", highlight=False)


def _by_method(result: dict[str, Any]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for point in result["points"]:
        groups.setdefault(point["method"], []).append(point["adapter_params"])
    return dict(sorted(groups.items()))


def _title(result: dict[str, Any]) -> str:
    budget = result["budget"]["text"]
    within = f" within {budget}" if budget else ""
    return f"Space {result['space']} on {result['model']}{within}"


def _print_plot(result: dict[str, Any]) -> None:
    out, groups = console(), _by_method(result)
    together = [point["adapter_params"] for point in result["points"]]
    lines = [
        f"{_title(result)}: adapter parameters of {count_text(result['n_points'], 'point')}, "
        "log scale",
        *log_histogram({**groups, ALL: together}),
    ]
    lines += [f"Left out {method}: {reason}" for method, reason in result["refused"].items()]
    out.print("\n".join(lines), highlight=False, markup=False)


def _print_tables(result: dict[str, Any]) -> None:
    length = result["seq_length"]
    shape = f"batch {result['batch_size']}" + (f", {count_text(length, 'token')}" if length else "")
    of_some = f"{count_text(result['n_steps'], 'point')}, {shape}"
    base = result["base_params"]

    def share(costs: dict[str, Any]) -> dict[str, float]:
        return {"median_percent_of_base": percent_of_base(costs["median"], base)}

    _print_table(result, "adapter_params", "Adapter parameters", short, share)
    if result["n_steps"]:
        _print_table(result, "peak_memory_bytes", f"Peak memory (MiB) of {of_some}", _mebi)
        _print_table(result, "flops_per_step", f"GFLOP a step of {of_some}", _giga)
    if "n_fit" in result:
        limit = result["device_memory_bytes"] / _MEBI
        console().print(
            f"Within {limit:,.0f} MiB: {result['n_fit']} of "
            f"{count_text(result['n_steps'], 'point')}.",
            highlight=False,
        )


def _print_table(
    result: dict[str, Any],
    quantity: str,
    title: str,
    shown: Callable[[int], Any],
    further: Callable[[dict[str, Any]], dict[str, float]] = lambda _: {},
) -> None:
    chosen = [costs for costs in result["costs"] if costs["quantity"] == quantity]
    rows = [
        {"method": costs["method"], "points": costs["points"]}
        | {column: shown(costs[name]) for name, column in _COLUMNS.items()}
        | further(costs)
        for costs in chosen
    ]
    print_rows(rows, "table", title=title)


def short(number: int) -> str:
    """Return a number with three digits: 768, 6.15k, 22.7M, 1.20G."""
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= 0.9995 * unit:  # what would be rounded to a thousand gets the next letter
            digits = 2 if number < 9.995 * unit else 1 if number < 99.95 * unit else 0
            return f"{number / unit:.{digits}f}{letter}"
    return str(number)


def _mebi(number: int) -> int:
    return round(number / _MEBI)


def _giga(number: int) -> float:
    value = number / _GIGA
    return round(value) if value >= 100 else float(f"{value:.3g}")
