import pytest
from transformers import BertConfig

from autopeft.errors import UnknownNameError
from autopeft.methods.compose import count_parameters, read_configuration
from autopeft.methods.presets import preset, preset_names
from autopeft.models.loading import meta_model
from autopeft.models.spec import ModelSpec, inspect_model
from tests.tiny import build


@pytest.fixture(scope="module")
def bert_base() -> ModelSpec:
    return inspect_model(meta_model(BertConfig()))


#: Closed forms for 12 layers of width 768, and the percentages that AutoPEFT's table gives. It has
#: 1.25 for UniPELT, without the four gates a layer, each of 768 + 1 parameters.
EXPECTED = {
    "pfeiffer": (12 * (2 * 768 * 48 + 48 + 768), 0.81),
    "lora-qv": (12 * 2 * 8 * (768 + 768), 0.27),
    "prefix": (12 * 2 * 10 * 768, 0.17),
    "parallel": (12 * (2 * 768 * 384 + 384 + 768), 6.46),
    "mam": (12 * (2 * 768 * 384 + 384 + 768) + 12 * 2 * 30 * 768, 6.97),
    "unipelt": (12 * (2 * 768 * 48 + 816 + 2 * 8 * 1536 + 2 * 10 * 768 + 4 * (768 + 1)), 1.29),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_sizes_on_bert_base_are_the_papers(name: str, bert_base: ModelSpec) -> None:
    count, percent = EXPECTED[name]
    found = count_parameters(read_configuration(preset(name, bert_base), bert_base), bert_base)
    assert found == count
    assert 100 * found / bert_base.base_params == pytest.approx(percent, abs=0.025)


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_every_preset_fits_every_family(name: str, family: str) -> None:
    spec = inspect_model(build(family, "meta"))
    assert read_configuration(preset(name, spec), spec).components or name == "head"


def test_an_unknown_preset(bert_base: ModelSpec) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown preset 'mamm': did you mean mam"):
        preset("mamm", bert_base)
