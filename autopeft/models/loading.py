"""Configs, structure, weights and tokenizers, from a Hub id, a folder or a GGUF file."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from autopeft.errors import ModelError
from autopeft.models.auto_class import auto_class
from autopeft.models.gguf import converted_folder
from autopeft.models.head import TaskHead, TaskKind
from autopeft.models.registry import ModelReference
from autopeft.models.spec import Output

logger = logging.getLogger(__name__)

#: Tokens beside the special ones that a tokenizer without files can have: marks of spaces.
_MARKS = 2


def load_config(
    reference: ModelReference, head: TaskHead, *, trust_remote_code: bool = False
) -> PreTrainedConfig:
    """Load a model's config for a task.

    Args:
        reference: The model.
        head: What the task asks for.
        trust_remote_code: Whether Python code that comes with the model may run.

    Raises:
        ModelError: If the config cannot be had.
    """
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            _location(reference),
            trust_remote_code=trust_remote_code,
            local_files_only=reference.is_local,
            **_settings(head),
        )
    except (OSError, ValueError) as error:
        raise ModelError(_unreachable(reference, error)) from error
    config.use_cache = False  # keys and values are kept for generation, which nothing here does
    return config


def load_output(
    reference: ModelReference, head: TaskHead, *, trust_remote_code: bool = False
) -> Output:
    """Return what a model gives for a task, as `ModelSpec.output`; reads the config at most.

    Raises:
        ModelError: If the config cannot be had.
    """
    if not head.writes_text:
        return "labels"
    config = load_config(reference, head, trust_remote_code=trust_remote_code)
    return "target_tokens" if config.is_encoder_decoder else "next_tokens"


def _settings(head: TaskHead) -> dict[str, Any]:
    """Return what a config says of a head."""
    if head.writes_text:
        return {}
    regression = head.kind == "regression"
    problem = "regression" if regression else "single_label_classification"
    return {"num_labels": head.n_labels, "problem_type": problem}


def meta_model(config: PreTrainedConfig, kind: TaskKind = "classification") -> PreTrainedModel:
    """Build a model with the head of a task on the `meta` device; no weights are read.

    A config without a padding token gets one, as a loaded model gets its tokenizer's: classifiers
    that are decoders take no batch without, and which token it is costs nothing.

    Raises:
        ModelError: If the model has no such head, or its config does not say what it writes after.
    """
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0
    with torch.device("meta"):
        model = random_model(config, kind)
        if kind == "language_modeling" and config.is_encoder_decoder:
            _check_start(model)
    return model


def _check_start(model: Any) -> None:
    """Check that an encoder-decoder can put the text to write behind its first token."""
    begin = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    if begin is None:  # a few families have nothing to be asked
        return
    try:
        begin(torch.zeros((1, 1), dtype=torch.long))
    except (AttributeError, ValueError) as error:
        raise ModelError(
            f"The config of this {model.config.model_type} model does not name the token that a "
            "text to write begins after: set decoder_start_token_id in its config.json."
        ) from error


def random_model(config: PreTrainedConfig, kind: TaskKind = "classification") -> PreTrainedModel:
    """Build a model with the head of a task and random weights on the current device.

    Raises:
        ModelError: If the model has no such head.
    """
    model: PreTrainedModel = auto_class(config, kind).from_config(config)
    return model


def load_model(
    reference: ModelReference,
    head: TaskHead,
    device: torch.device,
    *,
    pad_token_id: int | None,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, frozenset[str]]:
    """Load the weights of a model with the head of a task, in float32.

    Args:
        reference: The model.
        head: What the task asks for.
        device: Where to put the weights.
        pad_token_id: The tokenizer's; decoders need it to find the last token of a padded row.
        trust_remote_code: Whether Python code that comes with the model may run.

    Returns:
        The model, and the names of its top modules (such as `classifier`) that the weights lack
        and that were therefore drawn at random.

    Raises:
        ModelError: If the weights cannot be had, or lack those that write text.
    """
    config = load_config(reference, head, trust_remote_code=trust_remote_code)
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = pad_token_id
    try:
        with quiet():
            model, info = auto_class(config, head.kind).from_pretrained(
                _location(reference),
                config=config,
                dtype=torch.float32,
                trust_remote_code=trust_remote_code,
                local_files_only=reference.is_local,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(_unreachable(reference, error)) from error
    missing = frozenset(key.partition(".")[0] for key in info["missing_keys"])
    if head.writes_text and missing:
        raise ModelError(
            f"The weights of '{reference.name}' cannot write text: {', '.join(sorted(missing))} "
            "would be random."
        )
    return model.to(device), missing


def load_tokenizer(
    reference: ModelReference, *, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer; one without a padding token pads with its end token.

    Raises:
        ModelError: If the tokenizer cannot be had, knows no words, or has neither padding nor end
            token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            _location(reference),
            trust_remote_code=trust_remote_code,
            local_files_only=reference.is_local,
        )
    except (OSError, ValueError) as error:
        raise ModelError(_unreachable(reference, error, "the tokenizer of ")) from error
    # transformers makes one of special tokens alone where a model has none: all words would be
    # unknown, and nobody told.
    if len(tokenizer) - len(set(tokenizer.all_special_tokens)) <= _MARKS:
        raise ModelError(
            f"The model '{reference.name}' has no tokenizer: put its files, such as "
            "tokenizer.json, beside the config."
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                f"The tokenizer of '{reference.name}' has neither a padding nor an end token: name "
                "one as pad_token in its tokenizer_config.json."
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, ...]], max_length: int
) -> list[dict[str, list[int]]]:
    """Tokenise texts or text pairs, each truncated to `max_length` tokens, without padding."""
    first = [parts[0] for parts in texts]
    second = [parts[1] for parts in texts] if texts and len(texts[0]) > 1 else None
    encoded = tokenizer(first, second, truncation=True, max_length=max_length)
    keys = [key for key in encoded if key != "special_tokens_mask"]
    return [{key: list(encoded[key][i]) for key in keys} for i in range(len(texts))]


def count_longer(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, ...]], max_length: int
) -> int:
    """Return how many texts or text pairs have more than `max_length` tokens."""
    if not texts:
        return 0
    columns = [list(column) for column in zip(*texts, strict=True)]
    with quiet():  # it warns of every length that a model cannot take
        encoded = tokenizer(*columns, truncation=False)
    return sum(len(ids) > max_length for ids in encoded["input_ids"])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide transformers' progress bars, and its reports of a new head and of how peft uses it."""
    level, bar = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()


def _location(reference: ModelReference) -> str:
    path = Path(reference.location)
    if path.suffix == ".gguf":
        return str(converted_folder(path))
    if path.name == "config.json":
        return str(path.parent)
    return reference.location


def _unreachable(reference: ModelReference, error: Exception, what: str = "the model ") -> str:
    first_line: Any = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    if reference.is_local:
        return f"Cannot load {what}'{reference.name}': {first_line}"
    return (
        f"Cannot load {what}'{reference.name}' from the Hugging Face Hub: without a network, "
        f"give a folder or use the installed model 'minilm'. ({first_line})"
    )
