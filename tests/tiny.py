"""Tiny random models of the families that matter; they prove plumbing, not quality."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BertTokenizerFast, PreTrainedModel

from autopeft.methods.registry import get_method
from autopeft.models.head import TaskKind
from autopeft.models.loading import random_model
from tests.families import CONFIGS, FURTHER, STRUCTURE

VOCABULARY = [f"word{i}" for i in range(60)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
END_TOKEN = {"t5": 1, "flan-t5": 1, "bart": 2}
ALL = {**CONFIGS, **FURTHER, **STRUCTURE}


def build(family: str, device: str = "cpu", kind: TaskKind = "classification") -> PreTrainedModel:
    """Return a random model with the head of a task, frozen.

    Biases and norms are made random, so that nothing is right because it is zero or one.
    """
    config = ALL[family]()
    config.problem_type = "single_label_classification"
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        model = random_model(config, kind)
    if device == "cpu":
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    noise = torch.randn(parameter.shape, generator=generator)
                    parameter.add_(0.1 * noise)
    return model.requires_grad_(False).eval()


def inputs(family: str) -> dict[str, torch.Tensor]:
    """Return a batch of four rows that the family accepts."""
    if family == "vit":
        generator = torch.Generator().manual_seed(2)
        return {"pixel_values": torch.randn(4, 3, 8, 8, generator=generator)}
    ids = torch.randint(3, 99, (4, 12), generator=torch.Generator().manual_seed(2))
    if family in END_TOKEN:  # their heads read the state at the end token
        ids[:, -1] = END_TOKEN[family]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def logits(model: nn.Module, family: str) -> torch.Tensor:
    """Return the logits of the batch, without dropout."""
    model.eval()
    with torch.no_grad():
        return model(**inputs(family)).logits


def data_of(method: str, **extra: Any) -> dict[str, Any]:
    """Return a configuration of a method, beside a LoRA where it does not go alone."""
    data = {"method": method, **extra}
    if get_method(method).info.goes_alone:
        return data
    return {"components": [{**data, "method": "lora"}, data]}


def save_tiny_bert(folder: Path) -> Path:
    """Write a random BERT and a tokenizer of whole words; return the folder."""
    return save_tiny("bert", folder)


def save_tiny(family: str, folder: Path, kind: TaskKind = "classification") -> Path:
    """Write a random model of a family and a tokenizer of whole words; return the folder.

    A classifier is written without its head, as pretrained models are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + VOCABULARY) + "\n")
    writes = kind == "language_modeling"
    tokenizer = BertTokenizerFast(
        vocab=str(folder / "vocab.txt"), **({"eos_token": "[SEP]"} if writes else {})
    )
    torch.manual_seed(0)
    config: Any = ALL[family]()
    config.num_labels = 2
    config.vocab_size = len(SPECIAL) + len(VOCABULARY)
    if family != "bert":  # which reads no end of a text
        config.pad_token_id, config.eos_token_id = tokenizer.pad_token_id, tokenizer.sep_token_id
    model = random_model(config, kind)
    (model if writes else model.base_model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
