"""Training memory of a configuration, counted on the `meta` device without weights or a GPU."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from autopeft.methods.composite import on_meta
from autopeft.methods.method import AttachContext
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Configuration

#: float32 weights, gradients and the two moments of Adam.
BYTES_PER_WEIGHT = 4
BYTES_PER_GRADIENT = 4
BYTES_PER_ADAM_STATE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes that a float32 training step holds at its peak, by part.

    Transient buffers (the inputs and outputs of the kernel that runs) are not in it.

    Attributes:
        weights: Base, head and adapter.
        gradients: Of what trains.
        optimizer: AdamW's two moments of what trains, and density masks.
        activations: Tensors that autograd keeps for the backward pass, each storage once.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """Sum of the parts."""
        return self.weights + self.gradients + self.optimizer + self.activations


def estimate_memory(
    configuration: Configuration,
    spec: ModelSpec,
    meta_model: Callable[[], PreTrainedModel],
    *,
    n_adapter_params: int,
    mask_bytes: int = 0,
    seq_length: int,
) -> MemoryEstimate:
    """Return the training memory of a configuration.

    Args:
        configuration: What is trained; its batch size is used.
        spec: Structure of the model.
        meta_model: Builds a fresh model with its task head on the `meta` device.
        n_adapter_params: Adapter parameters that train: the tensors are dense, pruned or not.
        mask_bytes: What density masks hold.
        seq_length: Tokens of every row of the batch; a model of images has its own size.
    """
    context = AttachContext(spec=spec, total_steps=100, seed=0)
    base = meta_model().requires_grad_(requires_grad=False)
    model = on_meta(base, configuration.components, context)
    activations = saved_bytes(model.train(), configuration.training.batch_size, seq_length)
    trainable = n_adapter_params + spec.head_params
    held = spec.base_params + spec.head_params
    if configuration.method != "full":  # the adapter's weights come on top of the base
        held += n_adapter_params
    return MemoryEstimate(
        weights=held * BYTES_PER_WEIGHT,
        gradients=trainable * BYTES_PER_GRADIENT,
        optimizer=trainable * BYTES_PER_ADAM_STATE + mask_bytes,
        activations=activations,
    )


def saved_bytes(model: nn.Module, batch_size: int, seq_length: int) -> int:
    """Return the bytes that autograd keeps for the backward pass of one forward.

    Every storage counts once; the model's own parameters do not count.

    Args:
        model: A transformers model, plain or with an adapter, on any device.
        batch_size: Rows of the batch.
        seq_length: Tokens of every row; a model of images has its own size.
    """
    parameters = {_storage_key(p) for p in model.parameters()}
    storages: dict[int, int] = {}
    kept: list[torch.Tensor] = []  # keeps storages alive, so that no key is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        parts = [tensor]
        if tensor.layout == torch.sparse_coo:
            parts = [tensor._indices(), tensor._values()]  # noqa: SLF001 - torch's accessors for
            # tensors that were not coalesced
        for part in parts:
            kept.append(part)
            if _storage_key(part) not in parameters:
                storages[_storage_key(part)] = part.untyped_storage().nbytes()
        return tensor

    with _MetaForward(), saved_tensors_hooks(pack, lambda tensor: tensor):
        _forward(model, batch_size, seq_length)
    return sum(storages.values())


class _MetaForward(TorchFunctionMode):
    """Lets a forward on `meta` keep what one on a CPU would keep.

    Checks of values (for infinities, say) pass and boolean masks select everything, because
    `meta` has no values. Attention goes to the fused kernel that a CPU would take.

    A CPU takes it where attention has no dropout: it keeps queries, keys, values and outputs but
    not the attention weights. `meta` alone would always take the unfused form. A GPU fuses
    attention with dropout too, so for it the prediction is an upper bound.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.__bool__ and args[0].is_meta:
            return False
        if func is torch.Tensor.__getitem__ and args[0].is_meta:
            if _is_mask(args[1]) and args[0].requires_grad:
                return _Masked.apply(args[0], args[1])  # type: ignore[no-untyped-call]  # torch's
            return func(args[0], _all_selected(args[1]))
        if func is nn.functional.scaled_dot_product_attention and args[0].is_meta:
            mask = kwargs.get("attn_mask")
            heads = {tensor.shape[1] for tensor in args[:3]}  # Falcon's keys have one for all
            unfused = kwargs.get("dropout_p", 0.0) > 0 or kwargs.get("enable_gqa", False)
            if len(heads) == 1 and not unfused and not (mask is not None and mask.requires_grad):
                if mask is not None and mask.dtype == torch.bool:
                    mask = torch.empty_like(mask, dtype=args[0].dtype)
                fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001
                causal = kwargs.get("is_causal", False)
                scale = kwargs.get("scale")
                return fused(*args, 0.0, causal, attn_mask=mask, scale=scale)[0]
        return func(*args, **kwargs)


class _Masked(torch.autograd.Function):
    """Selection by a mask that keeps what autograd keeps of it: the mask."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(mask)
        return torch.empty_like(values)

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> Any:
        raise NotImplementedError("costs need no backward pass")


def _is_mask(key: Any) -> bool:
    return isinstance(key, torch.Tensor) and key.dtype == torch.bool and key.dim() == 1


def _all_selected(key: Any) -> Any:
    """Return an index with boolean masks replaced by all places."""
    if isinstance(key, tuple):
        return tuple(_all_selected(part) for part in key)
    return torch.arange(len(key), device=key.device) if _is_mask(key) else key


def _forward(model: nn.Module, batch_size: int, seq_length: int) -> None:
    device = next(model.parameters()).device
    config: Any = model.config
    if model.main_input_name == "pixel_values":
        inputs = _images(config, batch_size, device)
    else:
        inputs = _tokens(batch_size, seq_length, device)
    if getattr(config, "is_encoder_decoder", False):
        # The classification heads of encoder-decoders look for end tokens in the values; the
        # backbone below them keeps all but a few numbers.
        backbone = getattr(_unwrapped(model), str(model.base_model_prefix))
        backbone(**inputs, decoder_input_ids=inputs["input_ids"])
        return
    regression = config.problem_type == "regression"
    dtype = torch.float32 if regression else torch.long
    labels = torch.zeros((batch_size,), dtype=dtype, device=device)
    model(**inputs, labels=labels)


def _tokens(batch_size: int, seq_length: int, device: torch.device) -> dict[str, torch.Tensor]:
    shape = (batch_size, seq_length)
    mask = torch.ones(shape, dtype=torch.long, device=device)
    # A padded token, as most batches have one: without any, transformers makes no mask. On `meta`
    # it cannot look, and always makes one.
    mask[:, -1] = 0
    input_ids = torch.zeros(shape, dtype=torch.long, device=device)
    return {"input_ids": input_ids, "attention_mask": mask}


def _images(config: Any, batch_size: int, device: torch.device) -> dict[str, torch.Tensor]:
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    shape = (batch_size, config.num_channels, height, width)
    return {"pixel_values": torch.zeros(shape, device=device)}


def _unwrapped(model: nn.Module) -> nn.Module:
    if isinstance(model, PeftModel):
        inner: nn.Module = model.get_base_model()
        return inner
    return model


def _storage_key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - the storage's identity; meta has no address
