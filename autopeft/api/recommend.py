"""`recommend`: the portfolio's pick for a model, a task and a budget; nothing is trained."""

from collections.abc import Iterator
from typing import Any

from autopeft.api.advice_words import reasons
from autopeft.api.device import memory_limit, step_options
from autopeft.api.estimate import BareModel, bare_model, check_count, costs_of
from autopeft.api.recommendation import Advice, Recommendation
from autopeft.api.request import SearchRequest
from autopeft.cost.budget import ParamBudget
from autopeft.cost.cost import CostModel
from autopeft.cost.memory_limit import MemoryLimit
from autopeft.cost.options import StepOptions
from autopeft.cost.subject import of_configuration
from autopeft.errors import AutopeftError, BudgetError, RequestError
from autopeft.models.head import TaskHead
from autopeft.space.configuration import Configuration
from autopeft.study.strategies.fitted import (
    Fitted,
    Limits,
    Ranking,
    fewest_parameters,
    fit,
    rank_portfolio,
)
from autopeft.study.strategies.portfolio import kind_of
from autopeft.tasks.task import TaskSpec, find_task

#: Trainings of fewer steps bear, and need, a higher learning rate than a method's default.
SHORT_TRAINING = 1_000
#: What counts as less memory, as a share of the pick's.
LESS_MEMORY = 0.75
#: Entries that the pick and its alternatives are chosen from.
_LOOKED_AT = 5
#: Settings of a search that say what is trained.
_OF_TRAINING = (
    *("task", "model", "budget", "max_memory", "max_length", "batch_size", "epochs", "train_rows"),
)


def recommend(*, n_labels: int | None = None, **settings: Any) -> Recommendation:
    """Return the portfolio's pick for a model, a task and a budget.

    Neither the task's data nor the weights of the model are read.

    Args:
        n_labels: Classes of the task; `None` takes those that its file names, else 2.
        **settings: Fields of `SearchRequest` that say what is trained: `model`, `task`, `budget`,
            `max_memory`, `max_length`, `batch_size`, `epochs`, `train_rows`.

    Raises:
        AutopeftError: If a part of the question cannot be used, or nothing fits.
    """
    request = SearchRequest.build(**settings)
    others = settings.keys() - set(_OF_TRAINING)
    if others:
        raise RequestError(
            f"A recommendation does not take {' and '.join(sorted(others))}: it takes n_labels, "
            f"{', '.join(_OF_TRAINING)}."
        )
    task = find_task(request.task)
    name = request.model or task.default_model
    if name is None:
        raise RequestError(f"The task '{task.name}' has no default model: name one with --model.")
    length = request.max_length or task.max_length
    bare = bare_model(name, _head(task, n_labels), length)
    if bare.spec.reads != "tokens":
        raise RequestError(f"The model '{name}' reads images, and tasks are of texts.")
    return _Adviser(request, task, bare, step_options(request)).recommendation(n_labels)


class _Adviser:
    """Answers one question."""

    def __init__(
        self, request: SearchRequest, task: TaskSpec, bare: BareModel, options: StepOptions
    ) -> None:
        self._task = task
        self._bare = bare
        rows = request.batch_size or task.batch_size
        training: dict[str, Any] = {"batch_size": rows}
        if task.head_learning_rate is not None and bare.spec.head_params:
            training["head_learning_rate"] = task.head_learning_rate
        n_train = request.train_rows or task.train_rows
        epochs = request.epochs or task.epochs
        self._steps = None if n_train is None else round(-(-n_train // rows) * epochs)
        memory = memory_limit(request)
        costs = CostModel(bare.spec, bare.build, bare.seq_length, options)
        self._model_costs = costs
        self._known: dict[Configuration, dict[str, Any]] = {}
        self._limits = Limits(
            budget=ParamBudget.parse(request.budget, bare.spec.base_params),
            memory=memory and MemoryLimit(text=memory[0], limit=memory[1], costs=costs),
            training=training,
            input_length=bare.seq_length,
            short=self._steps is not None and self._steps < SHORT_TRAINING,
        )

    def recommendation(self, n_labels: int | None) -> Recommendation:
        ranking = rank_portfolio(self._bare.spec, self._limits, _LOOKED_AT)
        if not ranking.fitted:
            raise self._nothing_fits()
        chosen = ranking.fitted[0]
        pick = self._advice("pick", chosen, ranking)
        spec, limits = self._bare.spec, self._limits
        given = " and ".join(kind_of(spec))
        facts = {
            "model": self._bare.name,
            "family": spec.family,
            "kind": given.replace(" and ", " that gives "),
            "task": self._task.name,
            "base_params": spec.base_params,
            "head_params": spec.head_params,
            "budget": {"text": limits.budget.text, "limit": limits.budget.limit},
            "max_memory_bytes": None if limits.memory is None else limits.memory.limit,
            "seq_length": self._bare.seq_length,
            "steps": self._steps,
        }
        return Recommendation(
            pick=pick,
            alternatives=tuple(self._alternatives(pick, ranking)),
            facts=facts,
            n_layers=spec.n_layers,
            notes=(*spec.notes, *self._notes(n_labels)),
        )

    def _alternatives(self, pick: Advice, ranking: Ranking) -> Iterator[Advice]:
        """Yield the next best for other wishes, those that are not the pick itself."""
        wishes = {
            "half of the budget": self._at_half(),
            "less memory": self._with_less_memory(pick, ranking),
            "served as LoRA": next((f for f in ranking.fitted if f.is_served), None),
            "another method": next(
                (f for f in ranking.fitted if f.entry.methods != ranking.fitted[0].entry.methods),
                None,
            ),
        }
        named: dict[str, tuple[list[str], Fitted]] = {}
        for wish, fitted in wishes.items():
            if fitted is not None and fitted.configuration != pick.configuration:
                digest = fitted.configuration.digest
                named.setdefault(digest, ([], fitted))[0].append(wish)
        for names, fitted in named.values():
            yield self._advice(", ".join(names), fitted, None)

    def _at_half(self) -> Fitted | None:
        if self._limits.budget.limit < 2:
            return None
        ranking = rank_portfolio(self._bare.spec, self._limits.halved(), enough=1)
        return next(iter(ranking.fitted), None)

    def _with_less_memory(self, pick: Advice, ranking: Ranking) -> Fitted | None:
        """Return the pick on upper layers, or the next entry, that takes clearly less memory."""
        limit = LESS_MEMORY * pick.costs["peak_memory_bytes"]
        first, *others = ranking.fitted[:_LOOKED_AT]
        for fitted in [*self._on_upper_layers(first), *others]:
            if self._costs(fitted)["peak_memory_bytes"] <= limit:
                return fitted
        return None

    def _on_upper_layers(self, chosen: Fitted) -> Iterator[Fitted]:
        for layers in ("last:1/2", "last:1/4"):
            try:
                yield fit(chosen.name, chosen.entry, self._bare.spec, self._limits, (layers,))
            except AutopeftError:  # a method that needs them all
                continue

    def _advice(self, what: str, fitted: Fitted, ranking: Ranking | None) -> Advice:
        costs = self._costs(fitted)
        spec, limits = self._bare.spec, self._limits
        before = {} if ranking is None else ranking.before(fitted, spec)
        return Advice(
            what=what,
            name=fitted.name,
            about=fitted.entry.about,
            source=fitted.entry.source,
            configuration=fitted.configuration,
            costs=costs,
            reasons=tuple(reasons(fitted, costs, limits, spec, before, self._steps)),
        )

    def _costs(self, fitted: Fitted) -> dict[str, Any]:
        configuration, training = fitted.configuration, fitted.configuration.training
        if configuration not in self._known:
            subject = of_configuration(configuration, self._model_costs)
            self._known[configuration] = costs_of(
                subject, self._bare.spec, training.batch_size, training.rows_at_once
            )
        return self._known[configuration]

    def _notes(self, n_labels: int | None) -> Iterator[str]:
        task = self._task
        if task.kind == "classification" and task.labels is None and n_labels is None:
            yield (
                f"The task '{task.name}' does not name its classes: its head is counted for 2; "
                "--num-labels says how many."
            )

    def _nothing_fits(self) -> BudgetError:
        limits = self._limits
        least = fewest_parameters(self._bare.spec, limits.input_length)
        if least > limits.budget.limit:
            return BudgetError(
                f"Nothing of the portfolio fits {limits.budget.limit:,} parameters "
                f"({limits.budget.text}): the smallest has {least:,}."
            )
        return BudgetError(
            f"Nothing of the portfolio fits both {limits.budget.limit:,} parameters and "
            f"{'the memory' if limits.memory is None else limits.memory.text}: allow more of one."
        )


def _head(task: TaskSpec, n_labels: int | None) -> TaskHead:
    if task.kind != "classification":
        if n_labels is not None:
            raise RequestError(f"The task '{task.name}' has no classes: leave --num-labels out.")
        return TaskHead(task.kind, 1)
    check_count("n_labels", n_labels, least=2)
    return TaskHead("classification", n_labels or len(task.labels or ()) or 2)
