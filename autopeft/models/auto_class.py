"""Which of transformers' classes a model is for a task."""

from typing import Any, Literal

from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from autopeft.errors import ModelError
from autopeft.models.head import TaskKind
from autopeft.models.spec import Output

Architecture = Literal["encoder", "decoder", "encoder-decoder"]


def auto_class(config: PreTrainedConfig, kind: TaskKind) -> Any:
    """Return the `AutoModel` class that builds a model of this config for a kind of task.

    Raises:
        ModelError: If transformers has none.
    """
    return _writer(config) if kind == "language_modeling" else _classifier(config)


def _classifier(config: PreTrainedConfig) -> Any:
    if type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return AutoModelForSequenceClassification
    if type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        return AutoModelForImageClassification
    raise ModelError(
        f"{config.model_type} models have no classification head for sequences or images in "
        "transformers: choose an encoder or a decoder that has one."
    )


def _writer(config: PreTrainedConfig) -> Any:
    if config.is_encoder_decoder and type(config) in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        return AutoModelForSeq2SeqLM
    # Encoders such as BERT are in the causal mapping too, as decoders that nobody has trained.
    causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    if causal and type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        return AutoModelForCausalLM
    raise ModelError(
        f"{config.model_type} models do not write text: choose a decoder, such as "
        "HuggingFaceTB/SmolLM2-135M, or an encoder with a decoder, such as google-t5/t5-small."
    )


def architecture(family: str, output: Output) -> Architecture:
    """Return how the layers of a model are put together.

    Args:
        family: Its `model_type`.
        output: What it gives; it decides where transformers does not know the family.
    """
    if output == "target_tokens" or family in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return "encoder-decoder"
    causal = family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if output == "next_tokens" or (causal and family not in MODEL_FOR_MASKED_LM_MAPPING_NAMES):
        return "decoder"
    return "encoder"
