"""What the rounds say: medians, spread and the table."""

import itertools
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

FEATURES = "features"
NAMES = {
    "optuna": "Optuna loop, `Trainer`",
    "tune": "Ray Tune, `Trainer`",
    "local": "autopeft, local runner",
    "ray": "autopeft, Ray runner",
}


def summary(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return all that is reported, from what the rounds measured."""
    kinds = list(dict.fromkeys(r["kind"] for r in rounds))
    ways = {kind: _way(_of(rounds, kind)) for kind in kinds if kind != FEATURES}
    result: dict[str, Any] = {"ways": ways}
    if {"optuna", "local"} <= set(ways):
        result["local_against_optuna"] = _against(ways["optuna"], ways["local"])
    if FEATURES in kinds:
        found = _of(rounds, FEATURES)
        result["features"] = _features(found)
        result["arithmetic"] = _arithmetic(found)
    return result


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return the quartiles."""
    numbers = sorted(values)
    low, middle, high = (
        statistics.quantiles(numbers, n=4, method="inclusive")
        if len(numbers) > 1
        else 3 * [numbers[0]]
    )
    return {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}


def _of(rounds: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [r for r in rounds if r["kind"] == kind]


def _way(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    trials = [trial for r in rounds for trial in r["found"]]
    overheads = [
        trial["ended"] - before["ended"] - trial["busy"]
        for r in rounds
        for before, trial in itertools.pairwise(r["found"])
    ]
    # The first trial of a process waits for imports, Ray and the model: that is the start.
    overhead = statistics.median(overheads) if overheads else 0.0
    starts = [r["found"][0]["ended"] - r["started"] - r["found"][0]["busy"] for r in rounds]
    start = statistics.median(starts) - overhead
    walls = {t["index"]: t["busy"] + overhead for t in trials}
    for r in rounds:
        for before, trial in itertools.pairwise(r["found"]):
            walls[trial["index"]] = trial["ended"] - before["ended"]
    total = sum(walls.values())
    cpus = _cpus(rounds)
    return {
        "trials": len(trials),
        "trials_per_hour": round(3600 * len(trials) / total, 1),
        "trials_per_hour_with_one_start": round(3600 * len(trials) / (start + total), 1),
        "start_seconds": round(start, 2),
        "trial_seconds": spread(walls.values()),
        "training_and_evaluation_seconds": spread(t["busy"] for t in trials),
        "overhead_seconds": spread(overheads or [0.0]),
        "processor_seconds": spread(cpus.values()),
        "peak_mib": round(max(t["peak_bytes"] for t in trials) / 2**20),
        "peak_device_mib": max(round((t["device_bytes"] or 0) / 2**20) for t in trials) or None,
        "seconds_by_configuration": {i: round(walls[i], 3) for i in sorted(walls)},
        "processor_seconds_by_configuration": {i: round(cpus[i], 3) for i in sorted(cpus)},
        "accuracy_by_configuration": {
            t["index"]: t["accuracy"] for t in sorted(trials, key=lambda t: t["index"])
        },
    }


def _cpus(rounds: Sequence[dict[str, Any]]) -> dict[int, float]:
    """Return the processor seconds of trials, without the first of a process that goes on."""
    found = {}
    for r in rounds:
        trials = r["found"]
        if r["kind"] == "tune":  # each has a process of its own, whose start belongs to it
            found |= {trial["index"]: trial["cpu"] for trial in trials}
            continue
        for before, trial in itertools.pairwise(trials):
            found[trial["index"]] = trial["cpu"] - before["cpu"]
    return found


def _against(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    seconds, accuracy = "seconds_by_configuration", "accuracy_by_configuration"
    shared = ours[seconds].keys() & theirs[seconds].keys()
    gains = [ours[accuracy][i] - theirs[accuracy][i] for i in shared]
    deviation = statistics.stdev(gains) if len(gains) > 1 else 0.0
    total = sum(theirs[seconds][i] for i in shared) / sum(ours[seconds][i] for i in shared)
    cpu = "processor_seconds_by_configuration"
    later = ours[cpu].keys() & theirs[cpu].keys()
    processor = sum(theirs[cpu][i] for i in later) / sum(ours[cpu][i] for i in later)
    return {
        "times_faster": round(total, 2),
        "times_less_processor_time": round(processor, 2),
        "times_faster_by_configuration": spread(
            theirs[seconds][i] / ours[seconds][i] for i in shared
        ),
        "accuracy_difference": {
            "mean": round(statistics.mean(gains), 4),
            "standard_deviation": round(deviation, 4),
            "standard_error": round(deviation / len(gains) ** 0.5, 4),
        },
    }


def _features(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = list(rounds[0]["found"]["walls"])
    walls, cpus = (
        {name: {i: s for r in rounds for i, s in r["found"][of][name].items()} for name in names}
        for of in ("walls", "cpus")
    )
    everything, every_cpu = walls.pop("all on"), sum(cpus["all on"].values())
    return {
        name: {
            "times_slower_without": round(sum(without.values()) / sum(everything.values()), 3),
            "times_more_processor_time": round(sum(cpus[name].values()) / every_cpu, 3),
            "by_configuration": spread(without[i] / everything[i] for i in without),
            "seconds_gained_a_trial": spread(without[i] - everything[i] for i in without),
        }
        for name, without in walls.items()
    }


def _arithmetic(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found = [r["found"]["arithmetic"] for r in rounds]
    return {
        "peak_gflops": spread(f["peak"] / 1e9 for f in found),
        "same_shapes_gflops": spread(f["same_shapes"] / 1e9 for f in found),
        "share_of_peak": spread(x / f["peak"] for f in found for x in f["reached"].values()),
        "share_of_same_shapes": spread(
            x / f["same_shapes"] for f in found for x in f["reached"].values()
        ),
    }


def markdown(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    parts = [_settings_line(result), _ways_table(result["ways"])]
    if "local_against_optuna" in result:
        parts.append(_against_lines(result["local_against_optuna"]))
    if "features" in result:
        parts += [_features_table(result["features"]), _arithmetic_line(result["arithmetic"])]
    return "\n\n".join(parts)


def _settings_line(result: dict[str, Any]) -> str:
    s = result["settings"]
    return (
        f"{s['data']} on {s['model'].rpartition('/')[2]}: {len(s['indices'])} configurations, "
        f"{s['rows']} training rows, {s['epochs']:g} epochs, {s['eval_rows']} validation rows, "
        f"{result['threads']} threads; {result['seconds']} s in all. "
        "Medians, quartiles in brackets."
    )


def _ways_table(ways: dict[str, Any]) -> str:
    lines = [
        "| way | trials an hour | with one start | start (s) | a trial (s) | training and "
        "evaluation (s) | overhead (s) | processor (s) | peak (MiB) | mean accuracy |",
        "| --- " * 10 + "|",
    ]
    for kind, way in ways.items():
        accuracy = statistics.mean(way["accuracy_by_configuration"].values())
        cells = [
            NAMES[kind],
            f"{way['trials_per_hour']:.0f}",
            f"{way['trials_per_hour_with_one_start']:.0f}",
            f"{way['start_seconds']:.1f}",
            _shown(way["trial_seconds"]),
            _shown(way["training_and_evaluation_seconds"]),
            _shown(way["overhead_seconds"], 3),
            _shown(way["processor_seconds"]),
            f"{way['peak_device_mib'] or way['peak_mib']:,}",
            f"{accuracy:.4f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _against_lines(against: dict[str, Any]) -> str:
    difference = against["accuracy_difference"]
    return (
        f"autopeft's local runner is {against['times_faster']:.2f} times as fast as the Optuna "
        f"loop over all configurations, {_shown(against['times_faster_by_configuration'])} times "
        f"a configuration, and takes {against['times_less_processor_time']:.2f} times less "
        f"processor time; its accuracy differs by {difference['mean']:+.4f} on average "
        f"(standard error {difference['standard_error']:.4f}, standard deviation "
        f"{difference['standard_deviation']:.4f})."
    )


def _features_table(features: dict[str, Any]) -> str:
    lines = [
        "| without | times slower | times more processor | a configuration | seconds a trial |",
        "| --- " * 5 + "|",
    ]
    for name, found in features.items():
        by_configuration = _shown(found["by_configuration"])
        seconds = _shown(found["seconds_gained_a_trial"], 3)
        slower = f"{found['times_slower_without']:.2f}"
        processor = f"{found['times_more_processor_time']:.2f}"
        lines.append(f"| {name} | {slower} | {processor} | {by_configuration} | {seconds} |")
    return "\n".join(lines)


def _arithmetic_line(found: dict[str, Any]) -> str:
    return (
        f"Matrix products reach {_shown(found['peak_gflops'], 1)} GFLOP/s at their best and "
        f"{_shown(found['same_shapes_gflops'], 1)} in the model's shapes. A training step of "
        f"autopeft does the operations that its configuration asks for at "
        f"{_shown(found['share_of_peak'])} of the first and "
        f"{_shown(found['share_of_same_shapes'])} of the second."
    )


def _shown(found: dict[str, float], digits: int = 2) -> str:
    low, high = f"{found['low']:.{digits}f}", f"{found['high']:.{digits}f}"
    return f"{found['median']:.{digits}f} [{low}, {high}]"


def write_table(result: dict[str, Any], name: str, file: Path) -> None:
    """Put a result between its marks in a page, `<!-- NAME -->` and `<!-- end of NAME -->`."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = file.read_text(encoding="utf-8")
    if start in text:
        before, rest = text.split(start)
        _, after = rest.split(end)
        table = f"{start}\n{markdown(result)}\n{end}"
        file.write_text(before + table + after, encoding="utf-8")
