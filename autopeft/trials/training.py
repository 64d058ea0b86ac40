"""`TrialRun`: a lean training loop over a resident base model, from rung to rung.

The loop is Hugging Face `Trainer`'s with its defaults: AdamW, linear warm-up and decay, gradient
norm clipped at 1, weight decay on matrices only.
"""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from autopeft.methods.compose import attach
from autopeft.methods.depth import frozen_depth
from autopeft.methods.method import AttachContext
from autopeft.trials.averaging import AveragedWeights
from autopeft.trials.batches import Epochs
from autopeft.trials.engine import Engine
from autopeft.trials.kept_checkpoints import LATE, has_mean, kept_at
from autopeft.trials.measuring import DivergedError, measured
from autopeft.trials.precision import Arithmetic
from autopeft.trials.task_loss import task_loss
from autopeft.trials.trial import RungReport, TrialSpec

SAMPLE_BATCHES = 4


class TrialRun:
    """One trial on a worker: attach, train to a rung, evaluate, go on, detach.

    Attributes:
        spec: The trial.
        total_steps: Optimiser steps of a full training.
        reported: What was measured at the last rung, also by the run that wrote the checkpoint.
    """

    def __init__(self, engine: Engine, spec: TrialSpec) -> None:
        self.spec = spec
        self._engine = engine
        self._training = spec.configuration.training
        self._epochs = Epochs(
            split=engine.workload.train,
            batch_size=self._training.batch_size,
            seed=spec.seed,
            max_tokens=self._training.max_tokens,
        )
        self.total_steps = self._epochs.n_steps(spec.epochs)
        # Below what the configuration changes nothing is trained, and nothing drops out.
        self._prefix = engine.prefix(frozen_depth(spec.configuration, engine.spec))
        # The seed comes before the head and the adapter: they draw their weights from it.
        torch.manual_seed(spec.seed)
        engine.reset_head()
        context = AttachContext(
            spec=engine.spec,
            total_steps=self.total_steps,
            seed=spec.seed,
            batches=self._sample,
        )
        self._attachment = attach(engine.base, spec.configuration, context)
        engine.parallel.agree(self._attachment.model)
        self._parameters = dict(self._attachment.trainable())
        self._optimizer = self._build_optimizer()
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, self._rate_at)
        self._arithmetic = Arithmetic(engine.dtype, engine.device)
        self._step = 0
        self._rung = 0
        self._seconds = 0.0
        self.reported: RungReport | None = None

    def advance(self, keep: Path | None = None) -> RungReport:
        """Train to the next rung and evaluate there.

        Before the end the mean of the weights over the last half of the steps is evaluated, at
        the end the weights themselves.

        Args:
            keep: The trial's folder, where late states before the end are kept as they were
                evaluated (`trials/kept_checkpoints.py`); `None` keeps none.

        Raises:
            DivergedError: If a loss or a metric is not finite.
        """
        started = time.perf_counter()
        target = max(self._step + 1, math.ceil(self.spec.rungs[self._rung] * self.total_steps))
        target = min(target, self.total_steps)
        averaged = None
        if target < self.total_steps:
            averaged = AveragedWeights(self._parameters.values(), self._step, target)
        losses = self._train_to(target, averaged)
        with averaged.in_place() if averaged else nullcontext():
            metrics, eval_loss = self.evaluate()
            if keep is not None and self._is_kept():
                self.save_adapter(kept_at(keep, self._step))
        self._seconds += time.perf_counter() - started
        report = RungReport(
            rung=self._rung,
            step=self._step,
            fidelity=round(self._step / self.total_steps, 6),
            metrics=metrics,
            eval_loss=eval_loss,
            train_loss=float(np.mean(losses)),
            seconds=self._seconds,
            last=self._step == self.total_steps,
        )
        for name, value in {**metrics, "loss on the validation rows": eval_loss}.items():
            if not math.isfinite(value):
                raise DivergedError(f"the {name} is {value} at step {self._step}")
        self._rung += 1
        self.reported = report
        return report

    def _is_kept(self) -> bool:
        late = self.spec.rungs[self._rung] >= LATE and self._step < self.total_steps
        return late and has_mean(self.spec.configuration)

    def evaluate(self) -> tuple[dict[str, float], float]:
        """Return the task's metrics and the mean loss on the validation rows."""
        return measured(self._attachment.model, self._engine, self._arithmetic, self._prefix)

    def save_adapter(self, folder: Path) -> None:
        """Write adapter and head in the library's own format."""
        self._attachment.save(folder)

    def save_checkpoint(self, folder: Path) -> None:
        """Write all that is needed to go on: what trains, optimiser, schedule and random state.

        The frozen base is not in it. Tensors are safetensors, the rest a tensor-only pickle that
        torch reads without running code.
        """
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"trainable/{name}": p.detach() for name, p in self._parameters.items()}
        extra = self._attachment.extra_state()
        tensors.update({f"extra/{name}": tensor for name, tensor in extra.items()})
        save_file(
            {n: t.cpu().contiguous().clone() for n, t in tensors.items()},
            folder / "adapter.safetensors",
        )
        state: dict[str, Any] = {
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
            "rung": self._rung,
            "seconds": self._seconds,
            "rng": torch.get_rng_state(),
            "arithmetic": self._arithmetic.state(),
            "reported": self.reported.to_dict() if self.reported else None,
        }
        if self._engine.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self._engine.device)
        # Written last and renamed: a checkpoint without it is not complete.
        torch.save(state, folder / "state.tmp")
        (folder / "state.tmp").replace(folder / "state.pt")

    def load_checkpoint(self, folder: Path) -> None:
        """Go on where `save_checkpoint` left off, with the same losses bit for bit on a CPU."""
        tensors = load_file(folder / "adapter.safetensors", device=str(self._engine.device))
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(tensors[f"trainable/{name}"])
        extra = {n.removeprefix("extra/"): t for n, t in tensors.items() if n.startswith("extra/")}
        self._attachment.load_extra_state(extra)
        state = torch.load(folder / "state.pt", weights_only=True)
        self._optimizer.load_state_dict(state["optimizer"])
        self._arithmetic.load_state(state.get("arithmetic", {}))
        self._step, self._rung = int(state["step"]), int(state["rung"])
        self._seconds = float(state["seconds"])
        reported = state.get("reported")
        self.reported = RungReport.from_dict(reported) if reported else None
        self._schedule.last_epoch = self._step
        torch.set_rng_state(state["rng"])
        if "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self._engine.device)

    def close(self) -> None:
        """Give the base model back to the engine as it was."""
        self._engine.restore(self._attachment.detach())

    def _train_to(self, step: int, averaged: AveragedWeights | None = None) -> list[float]:
        """Return the loss of each step; the mean takes in the weights on the way."""
        self._prefix.set_training(self._attachment.model)
        self._engine.parallel.draw_apart(self.spec.seed, self._step)
        losses: list[float] = []
        for rows in self._epochs.after(self._step):
            losses.append(self._differentiate(rows))
            self._arithmetic.step(self._optimizer, self._parameters.values())
            self._schedule.step()
            self._step += 1
            self._attachment.after_optimizer_step(self._step)
            self._optimizer.zero_grad()
            if averaged is not None:
                averaged.add(self._step)
            if self._step == step:
                break
        return losses

    def _differentiate(self, rows: Sequence[int]) -> float:
        """Leave a batch's gradients at the parameters, and return the task's loss.

        The mean over the batch is the sum of the means over its parts, each weighted by its share
        of the labels; what a method adds to every loss counts once, because the shares sum to 1.
        Several processes take some of the parts each, and then sum what came of them.
        """
        split, parallel, total = self._engine.workload.train, self._engine.parallel, 0.0
        n_learned = split.n_learned(rows)
        for part in self._parts(parallel.share(rows)):
            batch = split.batch(part, self._engine.device)
            with (
                self._arithmetic.autocast(),
                self._prefix.skipped(split, part),
                task_loss(self._engine.base) as of_task,
            ):
                loss = self._attachment.model(**batch).loss
            share = split.n_learned(part) / n_learned
            total += share * of_task[-1]
            self._arithmetic.backward(share * loss)
        total = parallel.summed(self._parameters, total)
        if not math.isfinite(total):
            raise DivergedError(f"the loss is {total} at step {self._step + 1}")
        return total

    def _parts(self, rows: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yield the rows of a batch, or of a share of it, that go through the model at once."""
        size = self._training.rows_at_once
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _sample(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the first batches of the training, for methods that look at data to start.

        All processes look at all of it: what follows from it is what it is in one process.
        """
        split = self._engine.workload.train
        for rows in itertools.islice(self._epochs.after(0), SAMPLE_BATCHES):
            for part in self._parts(rows):
                yield split.batch(part, self._engine.device)

    def _build_optimizer(self) -> torch.optim.AdamW:
        rate = self._training.learning_rate
        groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
        for name, parameter in self._parameters.items():
            in_head = not set(self._engine.spec.head_modules).isdisjoint(name.split("."))
            own = (self._training.head_learning_rate or rate) if in_head else rate
            own *= self._attachment.rate_multiple(parameter)
            decay = self._training.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((own, decay), []).append(parameter)
        return torch.optim.AdamW(
            [{"params": p, "lr": lr, "weight_decay": d} for (lr, d), p in groups.items()]
        )

    def _rate_at(self, step: int) -> float:
        """Return the learning rate of a step (from 0) as a share of the peak."""
        warmup = math.ceil(self._training.warmup_share * self.total_steps)
        if step < warmup:
            return step / warmup
        return max(0.0, (self.total_steps - step) / max(1, self.total_steps - warmup))
