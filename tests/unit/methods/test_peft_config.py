"""Configs that peft wrote, on models that write text."""

from pathlib import Path

import pytest
from peft import IA3Config, LoraConfig, PeftConfig, PromptTuningConfig, get_peft_model
from torch import nn

from autopeft.methods.peft_config import attach_peft_config
from autopeft.models.spec import inspect_model
from tests.tiny import build

KIND = "language_modeling"
QV = {"llama": ["q_proj", "v_proj"], "t5": ["q", "v"]}
TASKS = {"llama": "CAUSAL_LM", "t5": "SEQ_2_SEQ_LM"}


def trained(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {n: tuple(p.shape) for n, p in model.named_parameters() if p.requires_grad}


def configs(family: str) -> list[PeftConfig]:
    lora = {"r": 4, "target_modules": QV[family], "task_type": TASKS[family]}
    return [
        LoraConfig(**lora),
        LoraConfig(**lora, modules_to_save=["lm_head"]),
        IA3Config(target_modules=QV[family], feedforward_modules=[], task_type=TASKS[family]),
        PromptTuningConfig(num_virtual_tokens=5, task_type=TASKS[family]),
    ]


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")  # T5's head
@pytest.mark.parametrize("number", range(4), ids=["lora", "lora and head", "ia3", "prompt"])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_trains_what_it_trains_in_peft(number: int, family: str, tmp_path: Path) -> None:
    config = configs(family)[number]
    config.save_pretrained(str(tmp_path))
    theirs = trained(get_peft_model(build(family, kind=KIND), config))
    model = build(family, "meta", KIND)
    attached = attach_peft_config(model, tmp_path, inspect_model(model))
    assert trained(attached) == theirs
    assert any("lm_head" in name for name in theirs) == (number == 1)


def test_an_adapter_of_a_classifier_trains_beside_the_head_that_writes(tmp_path: Path) -> None:
    heads = ["classifier", "score"]
    config = LoraConfig(r=4, target_modules=QV["llama"], task_type="SEQ_CLS", modules_to_save=heads)
    config.save_pretrained(str(tmp_path))
    model = build("llama", "meta", KIND)
    attached = attach_peft_config(model, tmp_path, inspect_model(model))
    assert attached.active_peft_config.task_type == "CAUSAL_LM"
    assert all("lora_" in name for name in trained(attached))
