"""Nothing of the installed peft is forgotten: it is here, or left out with a reason."""

import dataclasses
import typing

from peft import LoraConfig, PeftType

from autopeft.methods.library import LibraryMethod
from autopeft.methods.lora import _INITS
from autopeft.methods.method import AttachContext
from autopeft.methods.peft_types import LEFT_OUT, LORA_LEFT_OUT, OWN
from autopeft.methods.registry import get_method, method_names
from autopeft.models.spec import inspect_model
from autopeft.space.configuration import Component
from tests.tiny import build

#: The fields of peft's config behind the variants of `lora`.
VARIANT_FIELDS = {"use_dora", "kasa_config", "velora_config"}


def library_types() -> set[str]:
    spec = inspect_model(build("bert", "meta"))
    context = AttachContext(spec=spec, total_steps=4, seed=0)
    found = set()
    for name in method_names():
        method = get_method(name)
        if isinstance(method, LibraryMethod):
            info = method.info
            component = Component(
                method=name,
                targets=info.default_targets,
                layers=(0, 1),
                params=tuple((p.domain.name, p.default) for p in info.parameters),
            )
            config = method.config(component, info.select(component, spec), context)
            found.add(PeftType(config.peft_type).name)
    return found


def test_every_type_is_here_or_left_out_with_a_reason() -> None:
    here = library_types()
    assert len(here) >= 30
    assert not here & set(OWN)
    assert not here & set(LEFT_OUT)
    assert not set(OWN) & set(LEFT_OUT)
    assert here | set(OWN) | set(LEFT_OUT) == {member.name for member in PeftType}
    assert set(OWN.values()) <= set(method_names())
    assert all(reason for reason in LEFT_OUT.values())


def test_every_initialisation_and_variant_of_lora_is_here_or_left_out() -> None:
    fields = {field.name: field for field in dataclasses.fields(LoraConfig)}
    hint = typing.get_type_hints(LoraConfig)["init_lora_weights"]
    literal = next(a for a in typing.get_args(hint) if typing.get_origin(a) is typing.Literal)
    inits = set(typing.get_args(literal))
    variants = {name for name, field in fields.items() if field.metadata.get("is_lora_variant")}
    variants |= {"use_qalora"}  # peft does not mark it
    assert len(inits) >= 8
    assert inits <= set(_INITS) | set(LORA_LEFT_OUT)
    assert variants == VARIANT_FIELDS | (set(LORA_LEFT_OUT) - inits)
