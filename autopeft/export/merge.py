"""The merged model: base and adapter as one, which needs transformers alone."""

from pathlib import Path

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autopeft.errors import RequestError
from autopeft.export.facts import ExportFacts, example_texts
from autopeft.methods.registry import get_method
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_model, load_tokenizer, quiet
from autopeft.trials.trial import TrialRecord

MERGED = "merged"
#: Largest difference of outputs, as a share of the largest of them, that rounding explains.
_ROUNDING = 1e-3


def check_mergeable(record: TrialRecord, adapter: Path) -> None:
    """Check that a trial's adapter can be folded into the weights of its base.

    Raises:
        RequestError: If it cannot.
    """
    components = record.spec.configuration.components
    methods = [component.method for component in components]
    reason = None
    if methods == ["full"]:
        reason = "all its weights were trained, so that the export is a whole model already"
    elif not (adapter / "adapter_config.json").is_file():
        reason = f"{record.spec.configuration.method} has no file format of peft, which merges"
    elif not all(get_method(method).info.mergeable for method in methods):
        reason = f"{methods[0]} does more to a model than its weights can hold"
    if reason:
        raise RequestError(f"Trial {record.number} cannot be merged: {reason}. Leave --merge out.")


def write_merged(
    folder: Path,
    *,
    adapter: Path,
    facts: ExportFacts,
    head: TaskHead,
    trust_remote_code: bool = False,
) -> None:
    """Write the merged model and its tokenizer into the folder's `merged/`.

    Args:
        folder: The exported folder.
        adapter: Folder of the trained weights.
        facts: Base model, labels and how many texts an input has.
        head: What the task asks of the model.
        trust_remote_code: Whether Python code that comes with the model may run.

    Raises:
        RequestError: If peft refuses, or the merged model gives other outputs than base and
            adapter.
        ModelError: If the base model cannot be had.
    """
    tokenizer = load_tokenizer(facts.reference, trust_remote_code=trust_remote_code)
    base, _ = load_model(
        facts.reference,
        head,
        torch.device("cpu"),
        pad_token_id=tokenizer.pad_token_id,
        trust_remote_code=trust_remote_code,
    )
    with quiet():
        model = PeftModel.from_pretrained(base, str(adapter)).eval()
    before = _outputs(model, tokenizer, facts)
    try:
        model.merge_adapter()
    except (ValueError, NotImplementedError) as error:
        raise RequestError(f"peft cannot merge this: {error}. Leave --merge out.") from error
    _unwrap(base)
    difference = (_outputs(base, tokenizer, facts) - before).abs().max()
    if not bool(difference <= _ROUNDING * before.abs().max()):
        raise RequestError(
            f"The merged {base.config.model_type} gives other outputs than base and adapter, "
            "because it has no place for all that was trained: leave --merge out."
        )
    if facts.labels:
        base.config.id2label = dict(enumerate(facts.labels))
        base.config.label2id = {label: i for i, label in enumerate(facts.labels)}
    base.config.use_cache = True  # generation is slow without
    with quiet():
        base.save_pretrained(str(folder / MERGED))
    tokenizer.save_pretrained(str(folder / MERGED))


def _outputs(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, facts: ExportFacts
) -> torch.Tensor:
    texts = example_texts(facts.n_texts)[:2]
    inputs = dict(tokenizer(*texts, return_tensors="pt"))
    if facts.writing is not None and facts.writing.output == "target_tokens":
        inputs["labels"] = inputs["input_ids"]
    with torch.inference_mode():
        logits: torch.Tensor = model(**inputs).logits
    return logits


def _unwrap(base: PreTrainedModel) -> None:
    """Take peft's modules out of a model; the trained head stays."""
    # peft's own way visits every module and fails on heads of several layers.
    for name, module in list(base.named_modules()):
        parent, _, child = name.rpartition(".")
        if isinstance(module, BaseTunerLayer):
            setattr(base.get_submodule(parent), child, module.get_base_layer())
        elif isinstance(module, AuxiliaryTrainingWrapper):
            setattr(base.get_submodule(parent), child, module.modules_to_save["default"])
    del base.peft_config
