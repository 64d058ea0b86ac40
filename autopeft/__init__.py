"""Search for the best parameter-efficient fine-tuning of a model, within a budget.

::

    import autopeft

    result = autopeft.search(model="minilm", task="pydoc", budget="1%")
    for trial in result.front:
        print(trial.quality, trial.cost.adapter_params)
    result.export("my-adapter")
"""

from importlib import metadata
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from autopeft.api.recommendation import Recommendation
    from autopeft.api.result import SearchResult
    from autopeft.study.strategies.optuna_space import OptunaSpace
    from autopeft.study.strategies.sampler import AutoPeftSampler

__version__ = metadata.version("autopeft")
__all__ = [
    "AutoPeftSampler",
    "__version__",
    "load_adapter",
    "open_study",
    "recommend",
    "search",
    "search_space",
]


def __getattr__(name: str) -> Any:
    if name == "AutoPeftSampler":  # torch, BoTorch and Optuna are loaded when it is asked for
        from autopeft.study.strategies.sampler import AutoPeftSampler

        return AutoPeftSampler
    raise AttributeError(f"module 'autopeft' has no attribute '{name}'")


def search(*, study: str | PathLike[str] | None = None, **settings: Any) -> "SearchResult":
    """Run a search and return what it found.

    Args:
        study: Folder of the study; `None` makes one in `./studies`.
        **settings: Fields of `autopeft.api.request.SearchRequest`, such as `model`, `task`,
            `data`, `budget`, `trials`, `workers`, `seed`.

    Returns:
        The result, with `front`, `trials`, `best()` and `export(folder)`.

    Raises:
        autopeft.errors.AutopeftError: If the request cannot be met.
    """
    # Nothing heavy is imported before it is needed: `import autopeft` stays fast.
    from pathlib import Path

    from autopeft.api.request import SearchRequest
    from autopeft.api.search import run_search

    request = SearchRequest.build(**settings)
    return run_search(request, None if study is None else Path(study))


def recommend(*, n_labels: int | None = None, **settings: Any) -> "Recommendation":
    """Name a well-known configuration for a model, a task and a budget; nothing is trained.

    Args:
        n_labels: Classes of the task; `None` takes those that its file names, else 2.
        **settings: `model`, `task`, `budget`, `max_memory`, `max_length`, `batch_size`, `epochs`,
            `train_rows`, as for `search`.

    Returns:
        The recommendation, with `pick`, `alternatives` and `write(file)`.

    Raises:
        autopeft.errors.AutopeftError: If a part of the question cannot be used, or nothing fits.
    """
    from autopeft.api.recommend import recommend as advise

    return advise(n_labels=n_labels, **settings)


def search_space(  # noqa: PLR0913 - each is an option
    model: str = "minilm",
    *,
    space: str = "default",
    budget: str = "1%",
    n_labels: int | None = None,
    language_modeling: bool = False,
    seq_length: int | None = None,
    batch_size: int | None = None,
) -> "OptunaSpace":
    """Return the points of a search space that a model takes within a budget.

    It is for objectives that are written for Optuna: `space.suggest(trial)` gives a point's
    parameters, `space.configuration(params)` what is to be trained, `space.adapter_params(params)`
    its exact size, and `AutoPeftSampler(space)` suggests points that fit.

    Args:
        model: Name of the model, or its `config.json`; no weights are read.
        space: Name of a space, or its file.
        budget: Most adapter parameters: `0.1%`, `50k`, `1.5M`.
        n_labels: Classes of the head; `None` takes 2, and 1 means regression.
        language_modeling: Whether the model writes text with the head that it has, instead.
        seq_length: Longest input in tokens; `None` takes 128, or what the model takes if less.
        batch_size: Examples a step where the space does not choose it; `None` takes 16.

    Raises:
        autopeft.errors.AutopeftError: If model, space and budget do not go together.
    """
    from autopeft.api.space_costs import bound_space
    from autopeft.study.strategies.optuna_space import OptunaSpace

    _, candidates = bound_space(
        model,
        space,
        budget,
        n_labels=n_labels,
        language_modeling=language_modeling,
        seq_length=seq_length,
        batch_size=batch_size,
    )
    return OptunaSpace(candidates)


def open_study(study: str | PathLike[str]) -> "SearchResult":
    """Open the result of an earlier search.

    Args:
        study: Folder of the study.

    Raises:
        autopeft.errors.StudyError: If the folder holds no study.
    """
    from autopeft.api.result import SearchResult

    return SearchResult.open(str(study))


def load_adapter(model: "PreTrainedModel", folder: str | PathLike[str]) -> "nn.Module":
    """Attach an exported adapter that peft has no format for to its base model.

    Args:
        model: The base model with a task head, as transformers loads it.
        folder: The exported folder.

    Returns:
        A module to call as the model itself, ready to predict.

    Raises:
        autopeft.errors.ModelError: If the folder holds no adapter, or one for another model.
    """
    from autopeft.methods.load_adapter import load_adapter as load

    return load(model, str(folder))
