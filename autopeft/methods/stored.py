"""What an adapter's file holds, known from shapes before anything is trained."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from torch import nn

from autopeft.methods.inserted import Reparametrised, StandIn
from autopeft.methods.registry import get_method
from autopeft.space.configuration import Component


def stored_bytes(attached: nn.Module, components: Sequence[Component]) -> int:
    """Return the bytes of the tensors that saving an adapter writes, the head among them.

    The file has a header beside them, of about a hundred bytes a tensor, and a description goes
    with it. AdaLoRA drops ranks while it trains, so that its file can be smaller at the end.

    Args:
        attached: The model on `meta`, as `on_meta` or peft made it.
        components: What is attached; none for a config of peft.
    """
    if isinstance(attached, PeftModel):
        named = get_peft_model_state_dict(attached, save_embedding_layers=False)
        copies = max((get_method(c.method).stored_copies(c) for c in components), default=1)
        return sum(
            _size(tensor) * (copies if ".lora_A." in name or ".lora_B." in name else 1)
            for name, tensor in named.items()
        )
    trained = {id(p): p for p in attached.parameters() if p.requires_grad}
    for module in attached.modules():
        if isinstance(module, Reparametrised):
            for parameter in module.parameters():
                del trained[id(parameter)]
    # Several components are written without what can be drawn again from the seed.
    beside = _beside(attached) if len(components) == 1 else ()
    return sum(map(_size, [*trained.values(), *_folded(attached), *beside]))


def _folded(attached: nn.Module) -> Iterator[torch.Tensor]:
    for module in attached.modules():
        if isinstance(module, Reparametrised):
            yield from module.folded().values()


def _beside(attached: nn.Module) -> Iterable[torch.Tensor]:
    stand_ins = (module for module in attached.modules() if isinstance(module, StandIn))
    return {id(tensor): tensor for s in stand_ins for tensor in s.stored_beside()}.values()


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
