"""One forward on the `meta` device that does what one on a real device does."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from peft import PeftModel
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary
from transformers import PreTrainedModel

from autopeft.models.spec import backbone_name, output_of

#: What keeps a tensor of ones whole: how transformers asks whether a mask hides nothing.
_KEEP_WHOLE = {torch.Tensor.to, torch.Tensor.sum, torch.Tensor.all, torch.Tensor.__eq__}


class MetaForward(TorchFunctionMode):
    """Lets a forward on `meta` keep what one on a CPU would keep.

    Checks of values (for infinities, say) pass and boolean masks select everything, because
    `meta` has no values. A mask that a model makes of ones hides nothing, as a decoder's where the
    batch has none for it, and is left out as on a real device; the batch's own hides a token.
    Attention goes to the fused kernel that a CPU would take.

    A CPU takes it where attention has no dropout: it keeps queries, keys, values and outputs but
    not the attention weights. `meta` alone would always take the unfused form. A GPU fuses
    attention with dropout too, so for it the prediction is an upper bound.
    """

    def __init__(self) -> None:
        super().__init__()
        self._whole = WeakIdKeyDictionary()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.__bool__ and args[0].is_meta:
            return args[0] in self._whole
        if func is torch.ones or (func in _KEEP_WHOLE and args[0] in self._whole):
            whole = func(*args, **kwargs)
            self._whole[whole] = None
            return whole
        instead = _INSTEAD.get(func)
        if instead is not None and args[0].is_meta:
            return instead(*args, **kwargs)
        return func(*args, **kwargs)


def _select(values: torch.Tensor, key: Any) -> torch.Tensor:
    """Select by a key whose masks take everything."""
    if _is_mask(key) and values.requires_grad:
        masked: torch.Tensor = _Masked.apply(values, key)  # type: ignore[no-untyped-call]  # torch's
        return masked
    return values[_all_selected(key)]


def _attend(*args: Any, **kwargs: Any) -> torch.Tensor:
    """Attend with the fused kernel where a CPU takes it."""
    mask = kwargs.get("attn_mask")
    heads = {tensor.shape[1] for tensor in args[:3]}  # Falcon's keys have one for all
    unfused = kwargs.get("dropout_p", 0.0) > 0 or kwargs.get("enable_gqa", False)
    if len(heads) > 1 or unfused or (mask is not None and mask.requires_grad):
        return nn.functional.scaled_dot_product_attention(*args, **kwargs)
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.empty_like(mask, dtype=args[0].dtype)
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001
    causal, scale = kwargs.get("is_causal", False), kwargs.get("scale")
    output: torch.Tensor = fused(*args, 0.0, causal, attn_mask=mask, scale=scale)[0]
    return output


def _meet_experts(rows: torch.Tensor, experts: torch.Tensor, **_places: Any) -> torch.Tensor:
    """Multiply every row with one expert's matrix; all have one shape.

    What torch has for `meta` takes bfloat16 alone.
    """
    return rows @ experts[0]


#: What stands for a function on `meta`.
_INSTEAD: dict[Any, Callable[..., Any]] = {
    torch.Tensor.__getitem__: _select,
    nn.functional.scaled_dot_product_attention: _attend,
    torch._grouped_mm: _meet_experts,  # noqa: SLF001  # what nn.functional.grouped_mm calls
}


class _Masked(torch.autograd.Function):
    """Selection by a mask that keeps what autograd keeps of it: the mask."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(mask)
        return torch.empty_like(values)

    @staticmethod
    def backward(_ctx: Any, *gradients: torch.Tensor) -> Any:
        return torch.empty_like(gradients[0]), None


def _is_mask(key: Any) -> bool:
    return isinstance(key, torch.Tensor) and key.dtype == torch.bool and key.dim() == 1


def _all_selected(key: Any) -> Any:
    """Return an index with boolean masks replaced by all places."""
    if isinstance(key, tuple):
        return tuple(_all_selected(part) for part in key)
    return torch.arange(len(key), device=key.device) if _is_mask(key) else key


class Output(NamedTuple):
    """What a forward gives.

    Attributes:
        loss: A scalar to differentiate.
        logits: What it was computed from.
    """

    loss: torch.Tensor
    logits: torch.Tensor


def forward(model: nn.Module, batch_size: int, seq_length: int) -> Output:
    """Run one training forward on inputs of these shapes; on `meta` within `MetaForward`.

    Args:
        model: A transformers model, plain or with an adapter, on any device.
        batch_size: Rows of the batch.
        seq_length: Tokens of every row; a model of images has its own size.

    Returns:
        Loss and logits; for a classifier that is an encoder-decoder its last states and their
        sum. Heads of these look for end tokens in the values, so that they are left out; they are
        small.
    """
    device = next(model.parameters()).device
    config: Any = model.config
    if model.main_input_name == "pixel_values":
        inputs = _images(config, batch_size, device)
    else:
        inputs = _tokens(batch_size, seq_length, device)
    base = unwrapped(model)
    if output_of(base) != "labels":
        # The text to write is as long as what is read, and of words: mBART looks for the last one.
        word = 1 if getattr(config, "pad_token_id", None) == 0 else 0
        output = model(**inputs, labels=torch.full_like(inputs["input_ids"], word))
        return Output(output.loss, output.logits)
    if getattr(config, "is_encoder_decoder", False):
        backbone = base.get_submodule(backbone_name(base))
        output = backbone(**inputs, decoder_input_ids=inputs["input_ids"])
        states: torch.Tensor = output.last_hidden_state
        return Output(states.sum(), states)
    regression = config.problem_type == "regression"
    dtype = torch.float32 if regression else torch.long
    labels = torch.zeros((batch_size,), dtype=dtype, device=device)
    output = model(**inputs, labels=labels)
    return Output(output.loss, output.logits)


def _tokens(batch_size: int, seq_length: int, device: torch.device) -> dict[str, torch.Tensor]:
    shape = (batch_size, seq_length)
    mask = torch.zeros(shape, dtype=torch.long, device=device)
    # A padded token, as most batches have one: without any, transformers makes no mask.
    mask[:, :-1] = 1
    input_ids = torch.zeros(shape, dtype=torch.long, device=device)
    return {"input_ids": input_ids, "attention_mask": mask}


def _images(config: Any, batch_size: int, device: torch.device) -> dict[str, torch.Tensor]:
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    shape = (batch_size, config.num_channels, height, width)
    return {"pixel_values": torch.zeros(shape, device=device)}


def unwrapped(model: nn.Module) -> PreTrainedModel:
    """Return the transformers model, without what peft has put round it."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return cast("PreTrainedModel", inner)
