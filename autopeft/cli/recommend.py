"""`autopeft recommend`."""

import shlex
from pathlib import Path
from typing import Any

from autopeft.api.recommend import recommend
from autopeft.api.recommendation import Advice, Recommendation, check_configuration_file
from autopeft.cli.output import console, head_text, print_notes, print_rows
from autopeft.space.wording import count_text, layer_text, setting_text, target_text

#: What was said of the training that the file of a configuration does not hold.
_OF_TRAINING = ("task", "model", "max_memory", "train_rows", "max_length", "epochs")


def recommend_command(
    settings: dict[str, Any], n_labels: int | None, to: Path | None, output: str
) -> None:
    """Print the portfolio's pick and the next best; write the pick if there is a place for it."""
    if to is not None:
        check_configuration_file(to)  # before the work, not after it
    found = recommend(n_labels=n_labels, **settings)
    advised = (found.pick, *found.alternatives)
    rows = [_row(advice, found.n_layers) for advice in advised]
    if output == "table":
        _print_pick(found)
    print_rows(rows, output, title="Pick and alternatives", data=found.to_dict())
    print_notes(found.notes)
    if to is not None:
        found.write(to)
        words = f"The pick is in {to}. Train it: {_training(to, settings)}"
        console(stderr=output != "table").print(words, highlight=False, markup=False)


def _training(file: Path, settings: dict[str, Any]) -> str:
    given = [(name, settings[name]) for name in _OF_TRAINING if name in settings]
    options = [word for n, v in given for word in (f"--{n.replace('_', '-')}", f"{v}")]
    return shlex.join(["autopeft", "train", "--config", str(file), *options])


def _row(advice: Advice, n_layers: int) -> dict[str, Any]:
    configuration, costs = advice.configuration, advice.costs
    return {
        "what": advice.what,
        "name": advice.name,
        "adapter_params": costs["adapter_params"],
        "peak_memory_mib": round(costs["peak_memory_bytes"] / 2**20),
        "targets": target_text(configuration),
        "layers": layer_text(configuration, n_layers),
        "gflop_a_step": round(costs["flops_per_step"] / 1e9, 1),
        "share_of_base_percent": costs["share_of_base_percent"],
        "settings": setting_text(configuration),
        "learning_rate": configuration.training.learning_rate,
    }


def _print_pick(found: Recommendation) -> None:
    facts, pick = found.facts, found.pick
    budget = facts["budget"]
    lines = [
        f"Task    {facts['task']}",
        f"Model   {facts['model']} ({facts['family']}, {facts['kind']}), "
        f"{facts['base_params']:,} parameters, {head_text(facts['head_params'])}",
        f"Budget  {budget['text']} = {count_text(budget['limit'], 'adapter parameter')}",
        f"Pick    {pick.name}: {pick.about}",
        *(f"  - {reason}" for reason in pick.reasons),
    ]
    console().print("\n".join(lines), highlight=False, markup=False)
