"""Gates that read the input: UniPELT (Mao et al. 2022, arXiv 2110.07577, section 3)."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.inserted import reading_stack
from autopeft.methods.method import choice_parameter
from autopeft.models.architectures import reads_encoder
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component

#: The hyperparameter of a method that can have gates.
GATE = choice_parameter(
    "gate", ("none", "input"), "none", "factor in 0-1 that is read from each input"
)
#: No mask prunes a gate: a weight of zero leaves it half open.
UNMASKED = ("input_gate.",)


def is_gated(component: Component) -> bool:
    """Tell whether a component of a method with `GATE` has gates."""
    # Adapters written before there were gates do not speak of them.
    return dict(component.params).get("gate", "none") == "input"


def gate_parameters(d_in: int) -> int:
    """Return the parameters of a `Gate`."""
    return d_in + 1


class Tokens:
    """Where in a batch the padding is, as the model is told when it is called.

    Attributes:
        shares: What every token counts in the mean over its example, (batch, n): nothing where
            there is padding. `None` for images.
        hook: How to stop watching the model.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.shares: torch.Tensor | None = None
        stack = model.get_submodule(reading_stack(model))
        self.hook = stack.register_forward_pre_hook(self._read, with_kwargs=True)

    def _read(self, _stack: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs = (*args[:1], kwargs.get("input_ids"), kwargs.get("inputs_embeds"))
        words = next((given for given in inputs if given is not None), None)
        mask = kwargs.get("attention_mask")
        self.shares = None
        if words is not None and words.dim() <= 3:  # images have two numbers of pixels
            if mask is None or mask.shape != words.shape[:2]:
                mask = torch.ones(words.shape[:2], device=words.device)
            # Without a branch on values, which `meta` has not.
            self.shares = mask / mask.sum(dim=1, keepdim=True).clamp(min=1)


class Gate(nn.Module):
    """G(h) = mean over tokens of sigmoid(w . h + c), one number in 0-1 for each example.

    w of (d,) and c start at zero, and so G at 1/2. Padding is left out of the mean, which the
    original takes over all positions. Where there are other states than one for each token of the
    input (an encoder's prompt read by a decoder), the mean is over all of them.

    In a text that is being written the tokens that come later are not known: there the gate is
    sigmoid(w . h + c) of each token, without a mean.
    """

    def __init__(self, d_in: int, tokens: Tokens, *, each_token: bool = False) -> None:
        super().__init__()
        self.each_token = each_token
        self.read = nn.Linear(d_in, 1)
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(self.read.bias)
        self._tokens = tokens

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return G for states (batch, n, d), in a shape that multiplies them.

        That is (batch, 1, 1), or (batch, n, 1) where each token has its own.
        """
        values = torch.sigmoid(self.read(hidden))
        if self.each_token:
            return values
        values = values.squeeze(-1)
        shares = self._tokens.shares
        shares = None if shares is None else shares.to(values.dtype)
        if values.dim() == 1:
            return _of_rows(values, shares)
        if shares is not None and values.shape == shares.shape:
            mean = (values * shares).sum(dim=1)
        else:
            mean = values.flatten(1).mean(dim=1)
        return mean.view(-1, *(1 for _ in hidden.shape[1:]))


def gate_of(module: ModuleSpec, d_in: int, tokens: Tokens, spec: ModelSpec) -> Gate:
    """Return a fresh gate.

    Args:
        module: Whose place it has.
        d_in: Width of what it reads.
        tokens: Where in a batch the padding is.
        spec: The model.
    """
    return Gate(d_in, tokens, each_token=_reads_what_is_written(module, spec))


def _reads_what_is_written(module: ModuleSpec, spec: ModelSpec) -> bool:
    if spec.output != "target_tokens":
        return spec.output == "next_tokens"
    in_decoder = module.layer is not None and module.layer >= spec.first_stack
    return in_decoder and not reads_encoder(module.name)


def _of_rows(values: torch.Tensor, shares: torch.Tensor | None) -> torch.Tensor:
    """Return the mean of its example in each row (rows, 1), for values (rows,).

    OPT puts the tokens of all examples one below the other. Other rows, such as those of a trained
    prompt, are one example.
    """
    if shares is None or shares.numel() != len(values):
        return values.mean().expand(len(values), 1)
    mean = (values.view(shares.shape) * shares).sum(dim=1, keepdim=True)
    return mean.expand(shares.shape).reshape(-1, 1)
