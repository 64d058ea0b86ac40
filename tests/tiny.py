"""Tiny random models of the families that matter; they prove plumbing, not quality."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertTokenizerFast,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    T5Config,
)

VOCABULARY = [f"word{i}" for i in range(60)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
N_LABELS = 3
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def bert_config(n_labels: int = N_LABELS) -> BertConfig:
    return BertConfig(
        **SIZES,
        intermediate_size=64,
        vocab_size=99,
        max_position_embeddings=64,
        num_labels=n_labels,
    )


CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "bert": bert_config,
    "roberta": lambda: RobertaConfig(
        **SIZES, intermediate_size=64, vocab_size=99, num_labels=N_LABELS
    ),
    "distilbert": lambda: DistilBertConfig(
        dim=32, n_layers=2, n_heads=4, hidden_dim=64, vocab_size=99, num_labels=N_LABELS
    ),
    "gpt2": lambda: GPT2Config(
        n_embd=32, n_layer=2, n_head=4, vocab_size=99, num_labels=N_LABELS, pad_token_id=0
    ),
    "llama": lambda: LlamaConfig(  # grouped-query attention
        **SIZES,
        num_key_value_heads=2,
        intermediate_size=64,
        vocab_size=99,
        num_labels=N_LABELS,
        pad_token_id=0,
    ),
    "t5": lambda: T5Config(
        d_model=32,
        num_layers=2,
        num_heads=4,
        d_ff=64,
        d_kv=8,
        vocab_size=99,
        num_labels=N_LABELS,
        decoder_start_token_id=0,
        eos_token_id=1,
    ),
}


def build(family: str, device: str = "cpu") -> PreTrainedModel:
    """Return a random model with a classification head, frozen.

    Biases and norms are made random, so that nothing is right because it is zero or one.
    """
    config = CONFIGS[family]()
    config.problem_type = "single_label_classification"
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config)
    if device == "cpu":
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    noise = torch.randn(parameter.shape, generator=generator)
                    parameter.add_(0.1 * noise)
    return model.requires_grad_(False).eval()


def inputs(family: str) -> dict[str, torch.Tensor]:
    """Return a batch of four rows that every family accepts."""
    ids = torch.randint(3, 99, (4, 12), generator=torch.Generator().manual_seed(2))
    if family == "t5":
        ids[:, -1] = 1  # its head reads the state at the end token
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def logits(model: nn.Module, family: str) -> torch.Tensor:
    """Return the logits of the batch, without dropout."""
    model.eval()
    with torch.no_grad():
        return model(**inputs(family)).logits


def save_tiny_bert(folder: Path) -> Path:
    """Write a random BERT and a tokenizer of whole words; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + VOCABULARY) + "\n")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    torch.manual_seed(0)
    config = bert_config(n_labels=2)
    config.vocab_size = len(SPECIAL) + len(VOCABULARY)
    model = AutoModelForSequenceClassification.from_config(config)
    model.base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
