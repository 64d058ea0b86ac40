"""Checkpoints of a training that stay after its end: adapter and head, as they were evaluated.

They are kept from the last half of a training alone. Earlier the learning rate is high and weights
still move far; the rungs of a search lie there, so that a search keeps none.
"""

from pathlib import Path

from autopeft.errors import RequestError
from autopeft.space.configuration import Configuration

#: From this share of a training on, what is evaluated before the end is kept.
LATE = 0.5
#: Most that may be asked: each costs an evaluation.
MOST_CHECKPOINTS = 32
#: Methods whose trained weights lie in one linear space, in peft's own files: a mean of checkpoints
#: is a state of the same method. Rotations and masks that move have no such mean, and the ranks
#: that AdaLoRA drops on the way would come back in it.
WITH_A_MEAN = frozenset(
    {"lora", "loha", "lokr", "hira", "miss", "gralora", "vera", "fourierft", "c3a"}
    | {"ia3", "bitfit", "ln_tuning"}
)


def late_shares(n_checkpoints: int) -> tuple[float, ...]:
    """Return so many shares of a training, evenly over its last half; the last is its end."""
    step = (1.0 - LATE) / (n_checkpoints - 1)
    return (*(LATE + i * step for i in range(n_checkpoints - 1)), 1.0)


def has_mean(configuration: Configuration) -> bool:
    """Tell whether a mean of a configuration's checkpoints is a state of the same method."""
    components = configuration.components
    if len(components) != 1 or components[0].method not in WITH_A_MEAN:
        return False
    params = dict(components[0].params)
    # KaSA trains beside a part of the base's spectrum, and a mask may be another one later.
    return params.get("density", 1.0) == 1.0 and params.get("variant") != "kasa"


def check_mean(configuration: Configuration, whose: str) -> None:
    """Check that a mean of a configuration's checkpoints is a state of the same method.

    Args:
        configuration: The configuration.
        whose: What it is called in the message.

    Raises:
        RequestError: If it is not.
    """
    if not has_mean(configuration):
        names = ", ".join(sorted(WITH_A_MEAN))
        raise RequestError(
            f"A mean of checkpoints is offered for one component of {names}, without a density: "
            f"their weights lie in one linear space. {whose} is "
            f"{configuration.method}: leave --average and --checkpoints out."
        )


def kept_at(trial: Path, step: int) -> Path:
    """Return the folder of a trial's state after a step."""
    return trial / "kept" / f"{step:06d}"
