"""A merged model gives what base and adapter give, read by transformers alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from autopeft.errors import RequestError
from autopeft.export.facts import ExportFacts
from autopeft.export.merge import check_mergeable, write_merged
from autopeft.methods.compose import attach, read_configuration
from autopeft.methods.method import AttachContext
from autopeft.models.head import TaskHead, TaskKind
from autopeft.models.loading import load_model, load_tokenizer
from autopeft.models.registry import resolve_model
from autopeft.models.spec import inspect_model
from autopeft.trials.trial import TrialRecord
from tests.tiny import save_tiny
from tests.unit.export.test_folder import FACTS, WRITINGS
from tests.unit.export.test_recipes import with_configuration

CLASSES: dict[str, Any] = {
    "bert": AutoModelForSequenceClassification,
    "roberta": AutoModelForSequenceClassification,  # its head has several layers
    "llama": AutoModelForCausalLM,
    "t5": AutoModelForSeq2SeqLM,
}
HEADS: dict[str, TaskHead] = {
    "bert": TaskHead("classification", 2),
    "roberta": TaskHead("classification", 2),
    "llama": TaskHead("language_modeling"),
    "t5": TaskHead("language_modeling"),
}
WRITES = {"llama": "text-generation", "t5": "text2text-generation"}


def made(folder: Path, family: str, data: dict[str, Any]) -> tuple[TrialRecord, ExportFacts]:
    """Save a tiny model, and an adapter for it that changes what it gives."""
    kind: TaskKind = "language_modeling" if family in WRITES else "classification"
    reference = resolve_model(str(save_tiny(family, folder / "model", kind)))
    pad = load_tokenizer(reference).pad_token_id
    model, _ = load_model(reference, HEADS[family], torch.device("cpu"), pad_token_id=pad)
    spec = inspect_model(model.requires_grad_(False))
    configuration = read_configuration(data, spec)
    attachment = attach(model, configuration, AttachContext(spec=spec, total_steps=20, seed=0))
    with torch.no_grad():
        for _, parameter in attachment.trainable():
            parameter.add_(0.1 * torch.randn_like(parameter))
    attachment.save(folder / "adapter")
    writing = WRITINGS[WRITES[family]] if family in WRITES else None
    facts = replace(FACTS, reference=reference, writing=writing, n_texts=1)
    facts = replace(facts, labels=() if writing else FACTS.labels)
    return with_configuration(configuration), facts


@pytest.mark.parametrize("method", ["lora", "ia3"])
@pytest.mark.parametrize("family", CLASSES)
def test_merged_is_unmerged(family: str, method: str, tmp_path: Path) -> None:
    record, facts = made(tmp_path, family, {"method": method})
    check_mergeable(record, tmp_path / "adapter")
    write_merged(tmp_path, adapter=tmp_path / "adapter", facts=facts, head=HEADS[family])
    merged = CLASSES[family].from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    settings = {} if facts.writing else {"num_labels": 2}
    base = CLASSES[family].from_pretrained(facts.reference.location, **settings)
    base.config.pad_token_id = merged.config.pad_token_id
    unmerged = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    inputs = tokenizer("word1 word2 word3", return_tensors="pt")
    inputs = {k: v for k, v in inputs.items() if k != "token_type_ids"}
    if family == "t5":
        inputs["labels"] = inputs["input_ids"]
    with torch.inference_mode():
        expected, found = unmerged(**inputs).logits, merged(**inputs).logits
        with unmerged.disable_adapter():
            without = unmerged(**inputs).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(without, expected, rtol=1e-2)  # else equality says nothing
    if facts.labels:
        assert merged.config.id2label == dict(enumerate(facts.labels))


CANNOT: dict[str, tuple[dict[str, Any], str]] = {
    "all weights": ({"method": "full"}, "a whole model already"),
    "own files": ({"method": "parallel_adapter"}, "no file format of peft"),
    "not linear": ({"method": "adaption_prompt"}, "no file format of peft|more to a model"),
}


@pytest.mark.parametrize("case", CANNOT)
def test_what_cannot_be_merged_is_said(case: str, tmp_path: Path) -> None:
    data, message = CANNOT[case]
    record, _ = made(tmp_path, "llama", data)
    with pytest.raises(RequestError, match=message):
        check_mergeable(record, tmp_path / "adapter")


def test_a_model_without_a_place_for_what_was_trained_is_refused(tmp_path: Path) -> None:
    # Llama's linear modules have no bias that BitFit's could be merged into.
    _, facts = made(tmp_path, "llama", {"method": "bitfit"})
    with pytest.raises(RequestError, match="peft cannot merge this: Base layer has no bias"):
        write_merged(tmp_path, adapter=tmp_path / "adapter", facts=facts, head=HEADS["llama"])
    assert not (tmp_path / "merged").exists()
