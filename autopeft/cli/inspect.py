"""`autopeft plan`, `methods`, `estimate` and `space`: nothing is trained."""

from pathlib import Path
from typing import Any

from autopeft.api.catalogue import method_rows, spec_of
from autopeft.api.estimate import estimate
from autopeft.api.plan import describe_plan
from autopeft.api.problem import resolve
from autopeft.api.request import SearchRequest
from autopeft.api.space_facts import describe_space, validated
from autopeft.cli.output import console, head_text, print_notes, print_rows
from autopeft.cost.options import StepOptions
from autopeft.report.summary import column_title
from autopeft.space.wording import count_text
from autopeft.study.past import warm_start_notes


def plan_command(settings: dict[str, Any], output: str) -> None:
    """Print what a search would cover and cost."""
    plan = describe_plan(resolve(SearchRequest.build(**settings)))
    if output == "table":
        _print_facts(plan)
    print_rows(plan["examples"], output, title="What fits", data=plan)
    print_notes([*plan["notes"], *warm_start_notes(plan)])


def methods_command(model: str | None, output: str) -> None:
    """Print the methods."""
    spec = None if model is None else spec_of(model)
    rows = method_rows(spec)
    print_rows(rows, output, title="PEFT methods" + (f" on {model}" if model else ""))
    print_notes(spec.notes if spec else ())


def estimate_command(
    model: str, config: Path, settings: dict[str, Any], step: dict[str, Any], output: str
) -> None:
    """Print what a configuration costs.

    Args:
        model: Name of the model.
        config: File of the configuration.
        settings: What else `estimate` takes.
        step: Fields of `StepOptions`.
        output: `table`, `json` or `csv`.
    """
    result = estimate(model, config, **settings, options=StepOptions(**step))
    flat = {k: v for k, v in result.items() if not isinstance(v, dict | list)}
    flat.update({f"memory_{name}": value for name, value in result["memory_parts"].items()})
    if output == "table":
        rows = [{"what": _words(name), "value": _readable(name, v)} for name, v in flat.items()]
        print_rows(rows, output, title=f"{config.name} on {model}")
    else:
        print_rows([flat], output, data=result)
    print_notes(result["notes"])


def show_space_command(name: str, model: str, output: str) -> None:
    """Print a space."""
    facts = describe_space(name, model)
    if output == "table":
        _print_space(facts)
    print_rows(facts["dimensions"], output, title="Dimensions", data=facts)


def validate_space_command(name: str, model: str | None) -> None:
    """Say that a space is valid; what is wrong with another one is an error."""
    space = validated(name, model)
    console().print(
        f"{name} is valid: {count_text(len(space.methods), 'method')}, "
        f"{count_text(len(space.hyperparameters), 'dimension')}.",
        highlight=False,
    )


def _words(name: str) -> str:
    return column_title(name.replace("adapter_bytes", "adapter file").removesuffix("_bytes"))


def _readable(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if name == "flops_per_step":
        return f"{value / 1e9:,.3g} GFLOP" if value < 1e12 else f"{value / 1e9:,.0f} GFLOP"
    if name.endswith("_bytes") or name.startswith("memory_"):
        return f"{value / 2**30:,.2f} GiB" if value >= 2**30 else f"{value / 2**20:,.2f} MiB"
    return f"{value:,}"


def _print_space(facts: dict[str, Any]) -> None:
    points = facts["points"]
    size = f"{points:,}" if points is not None else f"about 10^{facts['log10_points']:g}"
    fewest, most = facts["adapter_params"].values()
    base = facts["base_params"]
    joined = (" + " if facts["together"] else ", ").join(facts["methods"])
    lines = [
        f"Space   {facts['space']}: {facts['about']}",
        f"Methods {joined}",
        f"Points  {size}",
        f"Cost    {fewest:,} to {most:,} adapter parameters ({100 * fewest / base:.3g} % to "
        f"{100 * most / base:.3g} % of {facts['model']})",
    ]
    lines += [f"Left out {method}: {reason}" for method, reason in facts["refused"].items()]
    console().print("\n".join(lines), highlight=False)


def _trainings(cost: dict[str, float]) -> str:
    least, most = (f"{cost[end]:g}" for end in ("least", "most"))
    return least if least == most else f"{least} to {most}"


def _print_facts(plan: dict[str, Any]) -> None:
    out, space, cost = console(), plan["space"], plan["full_training_equivalents"]
    others = ", ".join(
        f"{name} {_trainings(other)}"
        for name, other in plan["full_training_equivalents_by_fidelity"].items()
        if name != plan["fidelity"]
    )
    limit = count_text(plan["budget"]["limit"], "adapter parameter")
    lines = [
        f"Task    {plan['task']}, {count_text(plan['train_rows'], 'row')} to train, "
        f"{plan['eval_rows']:,} to evaluate, quality is {plan['metric']}",
        f"Model   {plan['model']} ({plan['family']}), {plan['base_params']:,} parameters, "
        f"{head_text(plan['head_params'])}",
        f"Budget  {plan['budget']['text']} = {limit}",
        f"Space   {space['name']}: {', '.join(space['methods'])}; about 10^{space['log10_size']} "
        f"configurations, {100 * space['share_that_fits']:.0f} % fit as they are, the others are "
        "scaled down",
        f"Search  {count_text(plan['trials'], 'trial')} of "
        f"{count_text(plan['steps_of_a_full_training'], 'step')} at most"
        f"{_repeats(plan['repeats'])} = {_trainings(cost)} times a full training with --fidelity "
        f"{plan['fidelity']}",
        f"        ({others})",
    ]
    if plan["time"]:
        lines.append(f"Time    none is started after {plan['time']}")
    lines += [f"Left out {method}: {reason}" for method, reason in space["refused"].items()]
    out.print("\n".join(lines), highlight=False)


def _repeats(repeats: dict[str, int]) -> str:
    """Return how many trainings with further seeds may follow the trials."""
    if not repeats["most"]:
        return ""
    most, seeds = count_text(repeats["most"], "repeat"), count_text(repeats["seeds"], "seed")
    return f", then at most {most} of the front ({seeds} each)"
