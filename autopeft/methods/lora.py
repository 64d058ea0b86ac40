"""LoRA (Hu et al. 2021, arXiv 2106.09685): its variants and initialisations."""

from typing import Any

from peft import KasaConfig, LoraConfig, VeloraConfig
from peft.tuners.lora.config import CordaConfig, LoraGAConfig
from transformers import PreTrainedModel

from autopeft.methods.library import LibraryMethod, common, transposed, widths
from autopeft.methods.lora_attachment import ConvertedLora, LoraAttachment
from autopeft.methods.lora_starts import principal_inputs, take_from_data
from autopeft.methods.method import (
    AttachContext,
    Attachment,
    MethodInfo,
    choice_parameter,
    float_parameter,
    int_parameter,
)
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS

#: What peft calls the initialisations. `orthogonal` starts both factors at random with B A = 0.
#: With PiSSA (arXiv 2404.02948) and OLoRA (2406.01775) the factors start in the directions of the
#: SVD and of the QR decomposition of W, and W gives up what they hold; MiCA (2604.01694) freezes B
#: in the minor directions of W and trains A; with EVA (2410.07170) A starts in the principal
#: directions of the module's inputs, here with the same rank everywhere. CorDA (2406.05223) takes
#: the factors out of W by the covariance of the inputs, LoRA-GA (2407.05000) by W's gradient.
_INITS: dict[str, Any] = {
    "default": True,
    "gaussian": "gaussian",
    "orthogonal": "orthogonal",
    "pissa": "pissa",
    "olora": "olora",
    "mica": "mica",
    "eva": True,
    "corda": "corda",
    "lora_ga": "lora_ga",
}
#: Starts that take out of W what only data tell.
_OUT_OF_W_BY_DATA = {"corda", "lora_ga"}
#: Their factors are parts of W's own, so no rank can be larger than W's.
_PARTS_OF_W = {"pissa", "olora", "mica", "corda"}
#: What peft does on embeddings. The other variants it refuses, the other starts it passes over;
#: what LoRA-FA freezes is zero there.
_ON_EMBEDDINGS = {"plain", "rslora", "dora", "default", "gaussian", "mica"}
_VARIANTS = ("plain", "rslora", "dora", "fa", "kasa", "velora")


class Lora(LibraryMethod):
    """W' = W + s B A, with A of shape (r, n) and B of shape (m, r), B zero at the start.

    s = alpha / r; rsLoRA (arXiv 2312.03732) takes alpha / sqrt(r); DoRA (2402.09353) also trains
    the norm of each row of W', m more numbers a matrix; LoRA-FA (2308.03303) trains B alone, so
    that the inputs of the modules need not be kept; KaSA (2412.06071) drops the r smallest singular
    values of W and trains W' = W + s B diag(d) A; VeLoRA (2405.17991) keeps a projection of the
    inputs instead of the inputs. LoRA+ (2402.12354) trains B faster than A.

    Of word embeddings W^T is the matrix: n is the vocabulary, m the width, r (n + m) what trains.
    There A starts at zero and B at random, which is cheaper to look up, so neither is faster than
    the other; and the input is a number of a word, which no dropout changes.
    """

    info = MethodInfo(
        name="lora",
        family="low-rank",
        about="Low-rank update B A beside a frozen matrix.",
        default_learning_rate=1e-3,
        default_targets=("attn.q", "attn.v", "attn.qkv"),
        kinds=(*GROUPS["linear"], "embed.tokens"),
        module_types=("linear", "conv1d", "embedding"),
        parameters=(
            int_parameter("rank", 1, 256, 8, "inner size r of the update", log=True),
            choice_parameter("variant", _VARIANTS, "plain", "scaling and form"),
            choice_parameter("init", tuple(_INITS), "default", "how A and B start"),
            float_parameter("alpha_over_rank", 0.25, 16.0, 2.0, "alpha by rank", log=True),
            float_parameter("dropout", 0.0, 0.5, 0.0, "dropout on the input of the update"),
            float_parameter("b_rate_over_a", 1.0, 32.0, 1.0, "learning rate of B by A's", log=True),
        ),
        mergeable=True,
        maskable=True,
        unmasked=("lora_magnitude_vector",),  # DoRA's norms: zero would silence W itself
        converts_to_lora=True,
    )

    def changes_base(self, component: Component) -> bool:
        taken = component.param("init") in {"pissa", "olora", *_OUT_OF_W_BY_DATA}
        return taken or component.param("variant") == "kasa"

    def stored_copies(self, component: Component) -> int:
        return 2 if self.stands_alone(component) else 1  # with the start that W gave up

    def keeps_together(self, component: Component) -> str | None:
        if component.param("variant") != "velora":
            return None
        return (
            "lora's variant 'velora' projects on the mean of all inputs of a batch, which is "
            "another one in each part of it"
        )

    def stands_alone(self, component: Component) -> bool:
        return component.param("init") in _OUT_OF_W_BY_DATA  # our own files hold no second factors

    def obstacle(self, component: Component, spec: ModelSpec) -> str | None:
        variant, init = str(component.param("variant")), str(component.param("init"))
        if clash := _clash(variant, init):
            return clash
        if init in _OUT_OF_W_BY_DATA and dict(component.params).get("density", 1.0) != 1:
            return f"lora's init '{init}' is written with its start, so that no density can be kept"
        modules = self.info.select(component, spec)
        if any(m.type == "embedding" for m in modules) and not {variant, init} <= _ON_EMBEDDINGS:
            what = f"init '{init}'" if variant in _ON_EMBEDDINGS else f"variant '{variant}'"
            return f"lora's {what} is not for word embeddings: peft has it for projections alone"
        if any(m.type == "conv1d" for m in modules) and (init == "olora" or variant == "kasa"):
            what = "init 'olora'" if init == "olora" else "variant 'kasa'"
            return (
                f"{spec.family}'s projections are Conv1D modules (transposed linear ones), and "
                f"peft has lora's {what} for Linear alone"
            )
        return None

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec)
        rank, variant = _rank(component, modules), component.param("variant")
        trains_a, trains_b = variant != "fa", component.param("init") != "mica"
        total = sum(rank * (trains_a * m.in_features + trains_b * m.out_features) for m in modules)
        total += rank * len(modules) if variant == "kasa" else 0
        return total + self.count_unmasked(component, spec)

    def count_unmasked(self, component: Component, spec: ModelSpec) -> int:
        if component.param("variant") != "dora":
            return 0
        return sum(m.out_features for m in self.info.select(component, spec))

    def attach(
        self, model: PreTrainedModel, component: Component, context: AttachContext
    ) -> Attachment:
        modules = self.info.select(component, context.spec)
        names = [module.name for module in modules]
        config = self.config(component, modules, context)
        starts, kind = {}, LoraAttachment
        if component.param("init") == "eva" and context.batches is not None:
            starts = principal_inputs(
                model, names, context.batches(), _rank(component, modules), context.seed
            )
        if config.init_lora_weights in _OUT_OF_W_BY_DATA:
            assert context.batches is not None
            take_from_data(model, config, list(context.batches()))
            kind = ConvertedLora
        return kind(
            model,
            config,
            names=names,
            changes_base=self.changes_base(component),
            starts=starts,
            b_rate=float(component.param("b_rate_over_a")),
            a_seed=context.seed if component.param("variant") == "fa" else None,
        )

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> LoraConfig:
        rank, variant = _rank(component, modules), component.param("variant")
        init = str(component.param("init"))
        if context.batches is None and init in _OUT_OF_W_BY_DATA:
            init = "default"  # of the same shapes
        return LoraConfig(
            r=rank,
            # peft declares an int and takes any number.
            lora_alpha=float(component.param("alpha_over_rank")) * rank,  # type: ignore[arg-type]
            lora_dropout=float(component.param("dropout")),
            init_lora_weights=_INITS[init],
            corda_config=CordaConfig() if init == "corda" else None,
            lora_ga_config=LoraGAConfig() if init == "lora_ga" else None,
            use_rslora=variant == "rslora",
            use_dora=variant == "dora",
            kasa_config=KasaConfig() if variant == "kasa" else None,
            # The projection follows from each batch alone: a checkpoint need not hold it.
            velora_config=VeloraConfig(init_type="batch_average") if variant == "velora" else None,
            **common(modules, context),
            **transposed(modules),
        )


def _clash(variant: str, init: str) -> str | None:
    """Return why a variant does not go with a start, or `None` if it does."""
    if init == "mica" and variant in {"dora", "fa", "kasa", "velora"}:
        return f"lora's variant '{variant}' does not go with the frozen B of init 'mica'"
    if init in _OUT_OF_W_BY_DATA and variant in {"fa", "kasa", "velora"}:
        return f"lora's variant '{variant}' does not go with init '{init}'"
    if variant == "kasa" and init not in {"default", "gaussian", "eva"}:
        return f"lora's variant 'kasa' needs a B of zeros, which init '{init}' does not give"
    return None


def _rank(component: Component, modules: list[ModuleSpec]) -> int:
    """Return the rank, taken down to what the start of the factors and the variant allow."""
    rank, init = int(component.param("rank")), component.param("init")
    narrowest = min(widths(modules), default=rank)
    if init in _PARTS_OF_W:
        rank = min(rank, narrowest)
    if init == "lora_ga":  # A and B start in different directions of W's gradient
        rank = min(rank, narrowest // 2)
    if component.param("variant") == "kasa":  # one singular value of W is left
        rank = min(rank, narrowest - 1)
    return max(2, rank // 2 * 2) if init == "orthogonal" else rank
