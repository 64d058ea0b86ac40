"""`ParamBudget`: the upper limit on adapter parameters that the user sets."""

import math
import re
from dataclasses import dataclass

from autopeft.errors import BudgetError

_TEXT = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>%|[kKmMbB]?)\s*")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_HELP = "write a share of the base model such as 0.1%, or a count such as 50k or 1.5M"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamBudget:
    """An upper limit on adapter parameters; the task head is not counted.

    Attributes:
        text: As the user wrote it.
        limit: Largest number of adapter parameters that is allowed.
    """

    text: str
    limit: int

    @classmethod
    def parse(cls, text: str, base_params: int) -> "ParamBudget":
        """Read a budget.

        Args:
            text: A share of the base model (`0.1%`) or a count (`20000`, `50k`, `1.5M`).
            base_params: Number of parameters of the base model.

        Raises:
            BudgetError: If the text is no budget, or it is zero or above 100 %.
        """
        number, unit = read_budget(text)
        if unit == "%":
            limit = math.floor(base_params * number / 100 + 1e-9)
        else:
            limit = math.floor(number * _UNITS[unit.lower()] + 1e-9)
        if limit > base_params:
            raise BudgetError(
                f"The budget '{text}' is more than the {base_params:,} parameters of the base "
                f"model: {_HELP}."
            )
        return cls(text=text, limit=limit)


def read_budget(text: object) -> tuple[float, str]:
    """Return the number and the unit of a budget; of no model is anything known.

    Raises:
        BudgetError: If the text is no budget, or it is zero.
    """
    match = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise BudgetError(f"Cannot read the budget {text!r}: {_HELP}.")
    if float(match["number"]) == 0:
        raise BudgetError(f"The budget '{text}' allows no parameters: {_HELP}.")
    return float(match["number"]), match["unit"]
