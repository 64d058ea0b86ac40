"""Starts of LoRA that look at data: EVA, CorDA and LoRA-GA."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from peft import LoraConfig
from peft.tuners.lora.corda import preprocess_corda
from peft.tuners.lora.loraga import preprocess_loraga
from transformers import PreTrainedModel

#: Rows of a module's input that EVA's start is computed from.
MOST_ROWS = 4096
Batch = Mapping[str, torch.Tensor]


def take_from_data(model: PreTrainedModel, config: LoraConfig, batches: Sequence[Batch]) -> None:
    """Have peft look at data for the start that a config asks for, before it attaches.

    Args:
        model: The base model.
        config: With `init_lora_weights` of `corda` or `lora_ga`.
        batches: Batches of inputs of the model, for LoRA-GA with labels.
    """
    training = model.training
    if config.init_lora_weights == "corda":
        preprocess_corda(model, config, run_model=lambda: _run(model, batches))
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no input of a frozen model's first layer trains
            preprocess_loraga(model, config, train_step=lambda: _differentiate(model, batches))
    model.train(training)


def _run(model: PreTrainedModel, batches: Iterable[Batch]) -> None:
    """Run every example alone and without its padding, as peft's hooks expect."""
    for batch in batches:
        for example in _examples(batch):
            model(**example)


def _differentiate(model: PreTrainedModel, batches: Iterable[Batch]) -> None:
    for batch in batches:
        model(**batch).loss.backward()


def _examples(batch: Batch) -> Iterator[dict[str, torch.Tensor]]:
    mask = batch.get("attention_mask")
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    for row in range(len(next(iter(inputs.values())))):
        example = {name: values[row : row + 1] for name, values in inputs.items()}
        if mask is not None:
            seen = mask[row].bool()
            example = {name: values[:, seen] for name, values in example.items()}
        yield example


def principal_inputs(
    model: PreTrainedModel,
    names: Sequence[str],
    batches: Iterable[Mapping[str, torch.Tensor]],
    rank: int,
    seed: int,
) -> dict[str, torch.Tensor]:
    """Return the first right singular vectors of each module's inputs (EVA, equation 3).

    Args:
        model: The base model.
        names: Modules.
        batches: Batches of inputs of the model; padding is left out.
        rank: Number of vectors; modules that saw fewer rows get fewer.
        seed: Of the randomised decomposition.

    Returns:
        Matrices of shape (up to `rank`, width of the input), by module.
    """
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    mask = torch.ones(0)

    def record(name: str, inputs: torch.Tensor) -> None:
        # Cross-attention of an encoder-decoder may see inputs of another length.
        seen = inputs[mask] if inputs.shape[:-1] == mask.shape else inputs.flatten(0, -2)
        rows[name].append(seen[: MOST_ROWS - sum(map(len, rows[name]))].float())

    hooks = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _module, args, name=name: record(name, args[0])
        )
        for name in names
    ]
    training = model.training
    model.eval()
    with torch.no_grad():
        for batch in batches:
            mask = batch.get("attention_mask", torch.ones(0)).bool()  # images have no padding
            model(**batch)
    model.train(training)
    for hook in hooks:
        hook.remove()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {name: _directions(torch.cat(seen), rank) for name, seen in rows.items()}


def _directions(rows: torch.Tensor, rank: int) -> torch.Tensor:
    few = min(rank, *rows.shape)
    # A few more than asked for: the randomised decomposition is exact in the first ones then.
    _, _, right = torch.svd_lowrank(rows, q=min(few + 8, *rows.shape), niter=8)
    return right[:, :few].T.contiguous()
