"""`Problem`: a request resolved to model, task, data, space and budget; nothing runs yet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from autopeft.api.catalogue import check_configuration, configuration_of
from autopeft.api.data_notes import shape_notes
from autopeft.api.device import check_devices, check_precision, memory_limit, step_options
from autopeft.api.request import SearchRequest
from autopeft.cost.budget import ParamBudget, read_budget
from autopeft.cost.candidates import CandidateSpace
from autopeft.cost.cost import Cost, CostModel
from autopeft.cost.memory_limit import MemoryLimit, n_bytes
from autopeft.errors import DataError, RequestError, SpaceError
from autopeft.methods.compose import added_tokens, count_parameters, no_room
from autopeft.methods.registry import catalogue, get_method
from autopeft.models.loading import load_config, meta_model
from autopeft.models.registry import ModelReference, resolve_model
from autopeft.models.spec import ModelSpec, inspect_model
from autopeft.space.configuration import Configuration, Value
from autopeft.space.point import point_space
from autopeft.space.schema import ModelShape, find_space, read_space
from autopeft.space.text import text_of
from autopeft.study.objective import Objective, ReferencePoint, parse_objectives
from autopeft.study.repeats import Repeats
from autopeft.study.rungs import rung_shares
from autopeft.study.strategies.start import representatives
from autopeft.study.study import StudyPlan
from autopeft.tasks.data import TaskData, load_data, own_task
from autopeft.tasks.metrics import METRICS
from autopeft.tasks.task import TaskSpec, find_task
from autopeft.trials.kept_checkpoints import check_mean, late_shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """All that a search works on.

    Attributes:
        request: What was asked.
        reference: The base model.
        data: The task and its rows.
        spec: Structure of the model.
        space: What may be tried within the budget.
        space_text: The search space's file.
        costs: Computes costs.
        objectives: What is improved.
        max_length: Longest input in tokens.
        batch_size: Examples a step, where the space does not choose it.
        epochs: Passes over the training rows of a full training.
        notes: What the user should know of how model and data were taken, a sentence each.
        cache_bytes: Most that may lie on the disk of what trials need again.
    """

    request: SearchRequest
    reference: ModelReference
    data: TaskData
    spec: ModelSpec
    space: CandidateSpace
    space_text: str
    costs: CostModel
    objectives: tuple[Objective, ...]
    max_length: int
    batch_size: int
    epochs: float
    notes: tuple[str, ...]
    cache_bytes: int

    def configuration(self, point: Mapping[str, Value]) -> Configuration:
        """Return the configuration that a trial of a point trains, in parts where it must be."""
        configuration = self.space.trained(point)
        assert configuration is not None, "strategies hand out what fits"
        return configuration

    def cost(self, configuration: Configuration) -> Cost:
        """Return the cost of a configuration."""
        return self.costs.cost(configuration)

    def known_values(self, point: Mapping[str, Value]) -> list[float]:
        """Return the natural values of the known objectives of a point, in their order."""
        values = []
        for objective in self.objectives:
            if objective.name == "params":
                values.append(float(self.space.adapter_params(point) or 0))
            elif objective.name == "memory":
                values.append(float(self.costs.memory(self._trained(point)).total))
        return values

    def _trained(self, point: Mapping[str, Value]) -> Configuration:
        """Return what is trained of a point, the whole batch at once if no part of it fits."""
        return self.space.trained(point) or self.space.configuration(point)

    def plan(self, reference: ReferencePoint) -> StudyPlan:
        """Return what the study is to do, measured from a reference that is kept once it began."""
        return StudyPlan(
            objectives=self.objectives,
            reference=reference,
            quality_metric=self.data.task.quality,
            eval_rows=len(self.data.validation),
            max_trials=self.request.trials,
            max_seconds=self.request.max_seconds,
            rungs=self.rungs,
            epochs=self.epochs,
            seed=self.request.seed,
            until_converged=self.request.until_converged,
            repeats=self.repeats,
            fidelity=self.request.fidelity,
        )

    @property
    def steps(self) -> int:
        """Optimiser steps of a full training, with the batch size of the request or the task."""
        return round(-(-len(self.data.train) // self.batch_size) * self.epochs)

    @property
    def repeats(self) -> Repeats:
        """What is trained again with further seeds."""
        return Repeats.asked(self.request.repeats, self.request.trials)

    @property
    def rungs(self) -> tuple[float, ...]:
        """Where trials are evaluated: at the rungs of early stopping, or for checkpoints."""
        if self.request.checkpoints > 1:
            return late_shares(self.request.checkpoints)
        return rung_shares(self.request.fidelity, self.steps)

    def reference_point(self) -> ReferencePoint:
        """Return where hypervolume is measured from: see `ReferencePoint`."""
        small, _ = self.extremes()
        floor = METRICS[self.data.task.quality].floor
        worst_quality = floor(np.asarray(self.data.validation.labels))
        best, worst = [], []
        for objective in self.objectives:
            if objective.name == "quality":
                best.append(1.0)
                worst.append(worst_quality)
            elif objective.name == "params":
                best.append(float(self.space.adapter_params(small) or 1))
                worst.append(float(self.space.budget.limit))
            else:
                # More parameters may take less memory, in upper layers or in parts of a batch.
                tried = (
                    self.costs.memory(self._trained(p)).total for p in representatives(self.space)
                )
                best.append(float(self._least_memory()))
                worst.append(float(max(tried)))
        return ReferencePoint.between(self.objectives, best, worst)

    def _least_memory(self) -> int:
        """Return the bytes of training the head alone: whatever is adapted takes more."""
        training = self.space.configuration(self.space.smallest()).training
        sizes = {h.field for h in self.space.space.hyperparameters}
        if self.space.memory is not None or "batch_size" in sizes:
            training = replace(training, batch_size=1, micro_batch_size=None)
        return self.costs.memory(Configuration(components=(), training=training)).total

    def extremes(self) -> tuple[Mapping[str, Value], Mapping[str, Value]]:
        """Return the points with the fewest and the most adapter parameters."""
        return self.space.smallest(), self.space.largest()


def resolve(request: SearchRequest) -> Problem:
    """Resolve a request; everything that can be wrong is found here, before anything is written.

    Raises:
        AutopeftError: If a part of the request cannot be used.
    """
    task = task_of(request)
    limit = memory_limit(request)
    check_precision(request)
    # What is no space, no budget and no size is told before anything is loaded.
    find_space(request.space)
    read_budget(request.budget)
    cache_bytes = 0 if request.cache == "0" else n_bytes(request.cache)
    objectives = parse_objectives(request.objectives)
    for method in request.methods or ():
        get_method(method)
    if request.configuration is not None:
        check_configuration(request.configuration)
    reference = resolve_model(_model_name(request, task))
    data = data_of(request, task)
    config = load_config(reference, data.head, trust_remote_code=request.trust_remote_code)
    build_meta = partial(meta_model, config, data.head.kind)
    spec = inspect_model(build_meta())
    if spec.reads != "tokens":
        raise RequestError(
            f"The model '{reference.name}' reads images, and tasks are of texts: `autopeft "
            "methods` and `autopeft estimate` take it, a search does not."
        )
    max_length = min(request.max_length or task.max_length, spec.max_length or 2**31)
    asked_batch = request.batch_size or data.task.batch_size
    batch_size = min(asked_batch, len(data.train))
    training: dict[str, Value] = {"batch_size": batch_size}
    head_rate = request.head_learning_rate or data.task.head_learning_rate
    if head_rate is not None:
        training["head_learning_rate"] = head_rate
    if request.batch_tokens is not None:
        training["max_tokens"] = request.batch_tokens
    costs = CostModel(spec, build_meta, max_length, step_options(request))
    memory = limit and MemoryLimit(text=limit[0], limit=limit[1], costs=costs)
    space_text, space = _space(request, training, costs, memory)
    if request.configuration is not None:
        asked_batch = space.configuration(space.smallest()).training.batch_size
    notes = shape_notes(request.max_length, spec.max_length, asked_batch, len(data.train))
    return Problem(
        request=request,
        reference=reference,
        data=data,
        spec=spec,
        space=space,
        space_text=space_text,
        costs=costs,
        objectives=objectives,
        max_length=max_length,
        batch_size=batch_size,
        epochs=request.epochs or task.epochs,
        notes=(*spec.notes, *notes),
        cache_bytes=cache_bytes,
    )


def _space(
    request: SearchRequest,
    training: Mapping[str, Value],
    costs: CostModel,
    memory: MemoryLimit | None,
) -> tuple[str, CandidateSpace]:
    """Return the text of the space, and the space within the budget and the memory."""
    spec, max_length = costs.spec, costs.seq_length
    shape = ModelShape(spec.n_layers, spec.hidden_size)
    if request.configuration is not None:
        asked = {name: getattr(request, name) for name in ("batch_size", "head_learning_rate")}
        asked["max_tokens"] = request.batch_tokens
        asked = {name: value for name, value in asked.items() if value is not None}
        configuration = configuration_of(request.configuration, spec, asked, training)
        check_devices(request.devices, configuration)
        if problem := no_room(added_tokens(configuration), spec, max_length):
            raise SpaceError(f"The configuration cannot be attached: {problem}: set --max-length.")
        if request.checkpoints > 1:
            check_mean(configuration, f"'{request.configuration}'")
        text = point_space(configuration, spec.n_layers)
        space = read_space(text, shape, request.configuration, catalogue())
        count = count_parameters(configuration, spec)
        limit = ParamBudget(text=str(count), limit=count)
        return text, CandidateSpace(space, spec, limit, input_length=max_length, memory=memory)
    path = find_space(request.space)
    text = text_of(path, SpaceError)
    space = read_space(text, shape, path.name, catalogue())
    if request.methods:
        space = space.restricted_to(request.methods)
    budget = ParamBudget.parse(request.budget, spec.base_params)
    return text, CandidateSpace(space, spec, budget, training, max_length, memory)


def task_of(request: SearchRequest) -> TaskSpec:
    """Return the task of a request.

    Raises:
        AutopeftError: If there is no such task, or no data to describe it.
    """
    if request.describes_data:
        assert request.data is not None
        if not request.data.exists():
            raise DataError(f"There is no file or folder '{request.data}' with data.")
        return own_task(
            request.text_columns,
            request.data,
            label_column=request.label_column,
            completion_column=request.completion_column,
        )
    return find_task(request.task)


def data_of(request: SearchRequest, task: TaskSpec) -> TaskData:
    """Return the rows of a task that a request takes.

    Raises:
        DataError: If there are none, or they cannot be used.
    """
    return load_data(
        task,
        request.data,
        train_rows=request.train_rows,
        eval_rows=request.eval_rows,
        seed=request.seed,
    )


def _model_name(request: SearchRequest, task: TaskSpec) -> str:
    name = request.model or task.default_model
    if name is None:
        raise RequestError(
            f"The task '{task.name}' has no default model: name one with --model, such as minilm "
            "or a Hub id."
        )
    return name
