"""What the user should know of how data and model go together, a sentence each."""

from autopeft.errors import ModelError
from autopeft.models.loading import load_output, load_tokenizer
from autopeft.models.registry import ModelReference
from autopeft.tasks.data import Split, TaskData
from autopeft.trials.batches import EncodedSplit
from autopeft.trials.engine import Workload
from autopeft.trials.tokens import count_cut


def length_notes(asked_length: int | None, model_length: int | None) -> list[str]:
    """Return what becomes of inputs that the model does not take whole."""
    if asked_length is None or model_length is None or asked_length <= model_length:
        return []
    return [
        f"The model takes {model_length:,} tokens and not the {asked_length:,} that were asked "
        f"for: inputs are cut at {model_length:,}."
    ]


def shape_notes(
    asked_length: int | None, model_length: int | None, asked_batch: int, n_train: int
) -> list[str]:
    """Return what becomes of a shape that model or data do not allow.

    Args:
        asked_length: Longest input in tokens that the user named; `None` if it is the task's.
        model_length: Longest input of the model, `None` without a limit.
        asked_batch: Examples a step that were asked for.
        n_train: Number of training rows.
    """
    notes = length_notes(asked_length, model_length)
    if asked_batch > n_train:
        notes.append(
            f"A batch of {asked_batch:,} is more than the {n_train:,} training rows: every step "
            "takes all of them."
        )
    return notes


def cut_notes(
    reference: ModelReference,
    data: TaskData,
    max_length: int,
    workload: Workload | None = None,
    *,
    trust_remote_code: bool = False,
) -> list[str]:
    """Return how many rows are longer than the longest input, if any are.

    Args:
        reference: The model.
        data: The rows.
        max_length: Longest input in tokens.
        workload: The same rows tokenised, so that few of them need another look; `None` if they
            have not been, and then a tokenizer that cannot be had is said.
        trust_remote_code: Whether Python code that comes with the model may run.
    """
    train, validation = data.train, data.validation
    if workload is not None:
        train = _full(train, workload.train, max_length)
        validation = _full(validation, workload.validation, max_length)
        if not len(train) and not len(validation):
            return []
    try:
        tokenizer = load_tokenizer(reference, trust_remote_code=trust_remote_code)
        output = load_output(reference, data.head, trust_remote_code=trust_remote_code)
    except ModelError as error:
        return [f"How many rows are too long for the model is not known. {error}"]
    n_train = count_cut(tokenizer, train, max_length, output)
    n_validation = count_cut(tokenizer, validation, max_length, output)
    if not n_train and not n_validation:
        return []
    return [
        f"{n_train:,} of {len(data.train):,} training rows and {n_validation:,} of "
        f"{len(data.validation):,} validation rows are longer than {max_length:,} tokens and are "
        "cut."
    ]


def _full(split: Split, encoded: EncodedSplit, max_length: int) -> Split:
    """Return the rows that have as many tokens as there is room for: only these can be cut."""
    return split.take([i for i, length in enumerate(encoded.longest) if length >= max_length])
