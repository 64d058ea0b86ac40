"""Costs of configurations of ours and of peft, from a model's config alone."""

import json
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from autopeft.api.estimate import estimate, n_bytes
from autopeft.cost.memory import step_cost
from autopeft.cost.subject import MOST_ROWS, largest_batch
from autopeft.errors import AutopeftError, RequestError
from autopeft.methods.compose import attach, read_configuration
from autopeft.methods.method import AttachContext
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_model
from autopeft.models.registry import resolve_model
from autopeft.models.spec import inspect_model
from tests.tiny import build, save_tiny

COUNTED = ("adapter_params", "head_params", "base_params", "flops_per_step", "memory_parts")


def costs(model: Path, file: Path, **shape: Any) -> dict[str, Any]:
    found = estimate(str(model), file, **shape)
    return {name: found[name] for name in COUNTED}


@pytest.mark.parametrize(
    "written",
    [
        {"method": "lora", "rank": 4, "targets": "linear"},
        {"method": "lora", "variant": "dora", "layers": "last:1"},
        {"method": "ia3"},
        {"method": "loha"},
        {"method": "oft"},
        {"method": "vera"},
        {"method": "ln_tuning"},
        {"method": "fourierft", "frequencies": 50},
    ],
    ids=str,
)
def test_what_peft_wrote_costs_what_our_configuration_does(
    written: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    model = build("bert").requires_grad_(requires_grad=False)
    spec = inspect_model(model)
    configuration = read_configuration(written, spec)
    ours = tmp_path / "ours.yaml"
    ours.write_text(yaml.safe_dump(configuration.to_dict()))
    folder = tmp_path / "theirs"
    context = AttachContext(spec=spec, total_steps=8, seed=0)
    attach(model, configuration, context).save(folder)
    expected = costs(tiny_model, ours, batch_size=3)
    assert costs(tiny_model, folder, batch_size=3) == expected
    assert costs(tiny_model, folder / "adapter_config.json", batch_size=3) == expected


def test_an_adapter_of_another_task(tiny_model: Path, tmp_path: Path) -> None:
    """As peft writes one for a language model, with names of modules as suffixes."""
    file = tmp_path / "adapter_config.json"
    data = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "inference_mode": True}
    file.write_text(json.dumps({**data, "target_modules": ["query", "value"]}))
    assert estimate(str(tiny_model), file)["adapter_params"] == 2 * 2 * 2 * (32 + 32)
    file.write_text(json.dumps({**data, "target_modules": ["nowhere"]}))
    with pytest.raises(AutopeftError, match=r"peft cannot attach .* to this model: No modules"):
        estimate(str(tiny_model), file)
    file.write_text(json.dumps({"peft_type": "NONE"}))
    with pytest.raises(AutopeftError, match="peft cannot attach"):
        estimate(str(tiny_model), file)


@pytest.mark.parametrize("init", ["eva", "corda", "lora_ga", "loftq", "pissa", "olora"])
def test_a_start_that_looks_at_weights_or_data_changes_no_cost(
    init: str, tiny_model: Path, tmp_path: Path
) -> None:
    plain, other = tmp_path / "plain.json", tmp_path / "other.json"
    data = {"peft_type": "LORA", "r": 2, "target_modules": ["query", "value"]}
    plain.write_text(json.dumps(data))
    other.write_text(json.dumps({**data, "init_lora_weights": init}))
    assert costs(tiny_model, other) == costs(tiny_model, plain)


def test_a_config_without_weights_is_enough(tiny_model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "some-config.json"
    shutil.copy(tiny_model / "config.json", bare)
    file = tmp_path / "c.yaml"
    file.write_text("method: lora\n")
    assert costs(bare, file) == costs(tiny_model, file)


def test_parts_of_a_batch_hold_the_gradients_of_those_before(
    tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"

    def found(training: str) -> dict[str, Any]:
        file.write_text(f"method: full\ntraining: {{learning_rate: 0.001, {training}}}\n")
        return estimate(str(tiny_model), file, seq_length=32)

    whole, parts = found("batch_size: 16"), found("batch_size: 16, micro_batch_size: 2")
    part_alone = found("batch_size: 2")
    assert parts["flops_per_step"] == whole["flops_per_step"]
    assert part_alone["peak_memory_bytes"] < parts["peak_memory_bytes"]
    assert parts["peak_memory_bytes"] < whole["peak_memory_bytes"]


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny models that write text."""
    folder = tmp_path_factory.mktemp("writers")
    families = ("llama", "gpt2", "t5")
    return {name: save_tiny(name, folder / name, "language_modeling") for name in families}


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings")
@pytest.mark.parametrize(
    ("family", "targets", "whole"),
    [
        ("llama", ["q_proj", "v_proj"], None),
        ("llama", ["q_proj", "v_proj"], ["lm_head", "embed_tokens"]),
        ("gpt2", ["c_attn"], ["lm_head"]),
        ("t5", ["q", "v"], None),
    ],
)
def test_what_peft_wrote_for_a_model_that_writes_text(
    family: str, targets: list[str], whole: list[str] | None, writers: dict[str, Path]
) -> None:
    """A kept head is of the base, also with weights of its own; modules may train whole."""
    reference = resolve_model(str(writers[family]))
    model, _ = load_model(
        reference, TaskHead("language_modeling"), torch.device("cpu"), pad_token_id=0
    )
    n_base = sum(p.numel() for p in model.parameters())
    config = LoraConfig(r=2, target_modules=targets, modules_to_save=whole)
    config.fan_in_fan_out = family == "gpt2"  # or peft warns and sets it
    config.task_type = "SEQ_2_SEQ_LM" if family == "t5" else "CAUSAL_LM"
    attached = get_peft_model(model, config)
    config.save_pretrained("adapter")
    found = costs(
        writers[family], Path("adapter"), language_modeling=True, batch_size=3, seq_length=10
    )
    made = step_cost(attached.train(), 3, 10)
    assert found == {
        "adapter_params": sum(p.numel() for p in attached.parameters() if p.requires_grad),
        "head_params": 0,
        "base_params": n_base,
        "flops_per_step": made.flops,
        "memory_parts": asdict(made.memory),
    }


def test_the_largest_batch_of_texts_to_write(writers: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("method: ia3\n")
    ask = partial(
        estimate,
        str(writers["llama"]),
        file,
        language_modeling=True,
        seq_length=32,
        device_memory="8MiB",
    )
    rows = ask()["largest_batch"]
    assert rows > 1
    assert ask(batch_size=rows)["fits"]
    assert not ask(batch_size=rows + 1)["fits"]


def test_a_config_without_a_padding_token(writers: dict[str, Path], tmp_path: Path) -> None:
    """Such as Llama's: a classifier gets the tokenizer's when it is loaded."""
    config = json.loads((writers["gpt2"] / "config.json").read_text())
    paddings = {}
    file = tmp_path / "c.yaml"
    file.write_text("method: lora\n")
    for padding in (None, 0):
        bare = tmp_path / "bare.json"
        bare.write_text(json.dumps(config | {"pad_token_id": padding}))
        paddings[padding] = costs(bare, file, batch_size=3)
    assert paddings[None] == paddings[0]


def test_the_largest_batch_fits_and_the_next_does_not(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("method: lora\n")
    found = estimate(str(tiny_model), file, device_memory="8MiB", seq_length=32)
    rows, limit = found["largest_batch"], found["device_memory_bytes"]
    assert limit == 8 * 2**20
    assert rows > 1
    for n, fits in ((rows, True), (rows + 1, False)):
        at = estimate(str(tiny_model), file, device_memory="8MiB", seq_length=32, batch_size=n)
        assert at["fits"] is fits
        assert (at["peak_memory_bytes"] <= limit) is fits
        assert at["largest_batch"] == rows
    assert estimate(str(tiny_model), file, device_memory="100KiB")["largest_batch"] == 0


@given(st.integers(0, 10**6), st.integers(1, 10**4), st.integers(1, 10**8))
def test_the_search_for_a_batch_is_exact(fixed: int, each: int, limit: int) -> None:
    found = largest_batch(lambda rows: fixed + each * rows, limit)
    assert found == min(max(0, (limit - fixed) // each), MOST_ROWS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24GiB", 24 * 2**30),
        ("24 GB", 24 * 10**9),
        ("24g", 24 * 2**30),
        ("0.5MiB", 2**19),
        ("1000", 1000),
        ("1000B", 1000),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert n_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "24XB", "GiB", "8", "24"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(RequestError, match="Cannot read the memory"):
        n_bytes(text)
