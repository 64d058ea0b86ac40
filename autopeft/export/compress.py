"""Derived points: a trial's adapter made smaller without training, and measured again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from autopeft.errors import RequestError
from autopeft.export.scorer import Scorer
from autopeft.methods.compression import (
    packed_int8,
    packed_ternary,
    read_compressed,
    ternary,
    write_compressed,
)
from autopeft.models.loading import quiet
from autopeft.trials.derived import DerivedPoint
from autopeft.trials.engine import Engine
from autopeft.trials.trial import TrialRecord

Compression = Literal["ternary", "int8"]
#: The paper's factors of the magnitude (arXiv 2311.13171), chosen by measuring each.
ALPHAS = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
#: Folder of the compressed file in an export.
COMPRESSED = "compressed"
_WEIGHTS = "adapter_model.safetensors"
#: Methods that the paper compresses: names of their tensors, and where they do nothing.
_TERNARY = {"lora": (".lora_A.", ".lora_B.", ".lora_embedding_"), "ia3": (".ia3_l",)}
_STARTS = {"lora": 0.0, "ia3": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """A compressed adapter, ready to be written.

    Attributes:
        point: What was measured.
        tensors: The adapter as it is loaded from the compressed file, by peft's names.
        packed: The content of the compressed file.
        metadata: Likewise.
    """

    point: DerivedPoint
    tensors: Mapping[str, torch.Tensor]
    packed: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Put the adapter into an export: native files for peft, and the small file beside them."""
        save_file(dict(self.tensors), folder / _WEIGHTS, {"format": "pt"})
        config = folder / "adapter_config.json"
        write_compressed(folder / COMPRESSED, self.packed, self.metadata, config)


def check_compressible(record: TrialRecord, adapter: Path, compression: Compression) -> None:
    """Check that a trial's adapter can be compressed in this way.

    Raises:
        RequestError: If it cannot.
    """
    method = record.spec.configuration.method
    if not (adapter / "adapter_config.json").is_file():
        raise RequestError(
            f"The adapter of trial {record.number} ({method}) is not in peft's files, which "
            "--compress reads: leave it out."
        )
    if compression == "ternary" and method not in _TERNARY:
        raise RequestError(
            f"ternary compression is for {' and '.join(_TERNARY)}, and trial {record.number} is "
            f"{method}: use --compress int8."
        )


def compress(
    record: TrialRecord,
    adapter: Path,
    engine: Engine,
    compression: Compression,
    *,
    keep: float,
    scratch: Path,
) -> Compressed:
    """Compress a trial's adapter and measure what that costs.

    Args:
        record: The trial; `check_compressible` has seen it.
        adapter: Folder of its trained weights.
        engine: Base model and data of the study.
        compression: How.
        keep: Share of the entries that a ternary adapter keeps.
        scratch: Folder for files that are measured and not kept.
    """
    trained = load_file(adapter / _WEIGHTS)
    with quiet():
        model = PeftModel.from_pretrained(engine.base, str(adapter))
    score = Scorer(engine, model, record.quality_metric)
    before, _ = score(trained)
    params = record.cost.adapter_params
    best: tuple[float, float] | None = None
    chosen: Compressed | None = None
    candidates = _ternaries(record, trained, keep) if compression == "ternary" else _int8(trained)
    for number, (alpha, packed, metadata) in enumerate(candidates):
        place = scratch / str(number)
        size = write_compressed(place, packed, metadata, adapter / "adapter_config.json")
        tensors = read_compressed(place)
        quality, loss = score(tensors)
        if best is not None and (quality, -loss) <= best:
            continue
        best = (quality, -loss)
        point = DerivedPoint(
            trial=record.number,
            way=compression,
            settings={} if alpha is None else {"keep": keep, "alpha": alpha},
            metric=record.quality_metric,
            quality=quality,
            quality_before=before,
            eval_loss=loss,
            # Rounded to zero an entry is stored all the same.
            adapter_params=params if alpha is None else _n_left(tensors, model),
            params_before=params,
            bytes=size,
            bytes_before=(adapter / _WEIGHTS).stat().st_size,
        )
        chosen = Compressed(point=point, tensors=tensors, packed=packed, metadata=metadata)
    assert chosen is not None
    return chosen


_Candidate = tuple[float | None, dict[str, torch.Tensor], dict[str, str]]


def _ternaries(
    record: TrialRecord, trained: Mapping[str, torch.Tensor], keep: float
) -> Iterator[_Candidate]:
    method = record.spec.configuration.method
    chosen = {n: t for n, t in trained.items() if any(part in n for part in _TERNARY[method])}
    others = {n: t for n, t in trained.items() if n not in chosen}
    for alpha in ALPHAS:
        found = ternary(chosen, keep=keep, alpha=alpha, start=_STARTS[method])
        packed, metadata = packed_ternary(found)
        yield alpha, {**packed, **others}, metadata


def _int8(trained: Mapping[str, torch.Tensor]) -> Iterator[_Candidate]:
    yield None, packed_int8(trained), {}


def _n_left(tensors: Mapping[str, torch.Tensor], model: PeftModel) -> int:
    head = set(model.active_peft_config.modules_to_save or ())
    adapter = (t for n, t in tensors.items() if head.isdisjoint(n.split(".")))
    return sum(int(torch.count_nonzero(t)) for t in adapter)
