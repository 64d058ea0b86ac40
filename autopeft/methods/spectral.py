"""Updates in a transformed basis: FourierFT (arXiv 2405.03003), WaveFT, C3A (2407.19342)."""

from peft import C3AConfig, FourierFTConfig, WaveFTConfig

from autopeft.methods.library import (
    LibraryMethod,
    PerModuleMethod,
    common,
    largest_divisor,
    transposed,
    widths,
)
from autopeft.methods.method import AttachContext, MethodInfo, float_parameter, int_parameter
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class FourierFT(PerModuleMethod):
    """W' = W + s Re(IFFT2(S)), S zero but at k random places."""

    info = MethodInfo(
        name="fourierft",
        family="spectral",
        about="A few random entries of the update's Fourier spectrum.",
        default_learning_rate=1e-2,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(
            int_parameter("frequencies", 8, 10_000, 1000, "trained entries a matrix", log=True),
            float_parameter("scaling", 20.0, 400.0, 150.0, "factor on the update", log=True),
        ),
        mergeable=True,
        maskable=True,
        converts_to_lora=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return _entries(component, [module])

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> FourierFTConfig:
        return FourierFTConfig(
            n_frequency_pattern={m.name: _entries(component, [m]) for m in modules},
            n_frequency=_entries(component, modules),
            scaling=float(component.param("scaling")),
            random_loc_seed=context.seed,
            init_weights=True,  # zeros: the model starts as the base
            **transposed(modules),
            **common(modules, context),
        )


class WaveFT(PerModuleMethod):
    """W' = W + s IDWT2(S), S zero but at k random places of the wavelet coefficients."""

    info = MethodInfo(
        name="waveft",
        family="spectral",
        about="A few random wavelet coefficients of the update.",
        default_learning_rate=1e-2,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(
            int_parameter("frequencies", 8, 10_000, 1000, "trained entries a matrix", log=True),
            float_parameter("scaling", 5.0, 100.0, 25.0, "factor on the update", log=True),
        ),
        mergeable=True,
        maskable=True,
        converts_to_lora=True,
    )

    def count_module(self, component: Component, module: ModuleSpec) -> int:
        return _entries(component, [module])

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> WaveFTConfig:
        return WaveFTConfig(
            n_frequency_pattern={m.name: _entries(component, [m]) for m in modules},
            n_frequency=_entries(component, modules),
            scaling=float(component.param("scaling")),
            random_loc_seed=context.seed,
            **transposed(modules),
            **common(modules, context),
        )


class C3A(LibraryMethod):
    """W' = W + C, C of circulant blocks b x b: b numbers a block."""

    info = MethodInfo(
        name="c3a",
        family="spectral",
        about="An update of circulant blocks.",
        default_learning_rate=1e-2,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear",),
        parameters=(int_parameter("block_size", 2, 1024, 128, "largest block", log=True),),
        mergeable=True,
        maskable=True,
        converts_to_lora=True,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec)
        block = _block(component, modules)
        return sum(m.in_features * m.out_features // block for m in modules)

    def config(
        self, component: Component, modules: list[ModuleSpec], context: AttachContext
    ) -> C3AConfig:
        return C3AConfig(
            block_size=_block(component, modules),
            init_weights=True,  # zeros: the model starts as the base
            **common(modules, context),
        )


def _entries(component: Component, modules: list[ModuleSpec]) -> int:
    most = min(m.in_features * m.out_features for m in modules)
    return min(int(component.param("frequencies")), most)


def _block(component: Component, modules: list[ModuleSpec]) -> int:
    return largest_divisor(widths(modules), int(component.param("block_size"))) if modules else 1
