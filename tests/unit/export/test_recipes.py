"""Recipes for other projects: known fields, and the adapter that they would train.

`recipe_fields.json` holds the fields of the projects' own classes. Where a project is installed,
its classes read the recipe too.
"""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from autopeft.errors import RequestError
from autopeft.export.facts import Writing
from autopeft.export.projects import PROJECTS
from autopeft.export.recipes import recipe
from autopeft.methods.compose import attach, read_configuration
from autopeft.methods.method import AttachContext
from autopeft.models.spec import inspect_model
from autopeft.space.configuration import Configuration
from autopeft.trials.trial import TrialRecord
from tests.records import record
from tests.tiny import build
from tests.unit.export.test_folder import FACTS

FIELDS = json.loads((Path(__file__).parent / "recipe_fields.json").read_text())
WRITER = replace(
    FACTS,
    writing=Writing(output="next_tokens", text_columns=("question",), prompt="{question}\n"),
    n_texts=1,
    labels=(),
)
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "all layers": {"method": "lora", "targets": "linear", "rank": 4, "variant": "rslora"},
    "upper layer": {"method": "lora", "targets": "attn.qv+mlp.down", "layers": [1]},
    "dora": {"method": "lora", "targets": "mlp", "variant": "dora", "alpha_over_rank": 0.3},
    "full": {"method": "full"},
}
FAMILIES = ("llama", "gpt2")
Trial = tuple[TrialRecord, Path]


def trial(folder: Path, family: str, data: dict[str, Any]) -> Trial:
    """Return a trial of a configuration on a tiny model, with an adapter that was not trained."""
    model = build(family, kind="language_modeling")
    spec = inspect_model(model)
    configuration = read_configuration(
        {**data, "training": {"batch_size": 16, "micro_batch_size": 8}}, spec
    )
    attachment = attach(model, configuration, AttachContext(spec=spec, total_steps=20, seed=0))
    attachment.save(folder)
    return with_configuration(configuration), folder


def with_configuration(configuration: Configuration) -> TrialRecord:
    done = record(5, [0.5, 0.6], 100)
    return replace(done, spec=replace(done.spec, configuration=configuration))


@pytest.fixture(params=[(f, c) for f in FAMILIES for c in CONFIGURATIONS], ids="-".join)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, TrialRecord, Path]:
    family, name = request.param
    return family, *trial(tmp_path / "adapter", family, CONFIGURATIONS[name])


def written(project: str, done: TrialRecord, adapter: Path) -> dict[str, Any]:
    name, text = recipe(project, done, adapter, WRITER)
    assert name == PROJECTS[project].file
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.mark.parametrize("project", PROJECTS)
def test_a_recipe_has_known_fields_and_trains_what_was_trained(
    project: str, made: tuple[str, TrialRecord, Path]
) -> None:
    family, done, adapter = made
    if project == "axolotl" and (adapter / "adapter_config.json").is_file():
        config = json.loads((adapter / "adapter_config.json").read_text())
        if round(config["lora_alpha"]) != config["lora_alpha"]:
            pytest.skip("Axolotl refuses it: see the test of refusals")
    settings = written(project, done, adapter)
    assert set(settings) <= set(FIELDS[project]["fields"])
    size = "micro_batch_size" if project == "axolotl" else "per_device_train_batch_size"
    assert settings[size] * settings["gradient_accumulation_steps"] == 16
    assert settings[size] == 8
    assert settings["learning_rate"] == done.spec.configuration.training.learning_rate
    last = done.reports[-1].step
    assert settings["warmup_steps"] == math.ceil(0.1 * last)
    assert settings["num_epochs" if project == "axolotl" else "num_train_epochs"] == 1.0
    lora = lora_of(project, settings)
    if done.spec.configuration.method == "full":
        assert lora is None
        return
    assert lora is not None
    lora.fan_in_fan_out = family == "gpt2"  # peft would see it itself, and warn
    again = get_peft_model(build(family, kind="language_modeling"), lora)
    saved = load_file(adapter / "adapter_model.safetensors")
    again.save_pretrained(adapter.parent / "again", save_embedding_layers=False)
    shapes = {
        n: t.shape for n, t in load_file(adapter.parent / "again/adapter_model.safetensors").items()
    }
    assert shapes == {n: t.shape for n, t in saved.items()}
    ours = json.loads((adapter / "adapter_config.json").read_text())
    assert lora.lora_alpha / lora.r == pytest.approx(ours["lora_alpha"] / ours["r"], rel=1e-9)
    assert lora.use_rslora == ours["use_rslora"]


def lora_of(project: str, settings: dict[str, Any]) -> LoraConfig | None:
    """Return the config that a project makes of its recipe."""
    names = {
        "trl": ("lora_r", "lora_target_modules", "use_rslora", "use_dora"),
        "llama-factory": ("lora_rank", "lora_target", "use_rslora", "use_dora"),
        "axolotl": ("lora_r", "lora_target_modules", "peft_use_rslora", "peft_use_dora"),
    }
    rank, targets, rslora, dora = (settings.get(name) for name in names[project])
    if rank is None:
        return None
    return LoraConfig(
        r=rank,
        lora_alpha=settings["lora_alpha"],
        lora_dropout=settings["lora_dropout"],
        target_modules=targets.split(",") if isinstance(targets, str) else targets,
        use_rslora=rslora,
        use_dora=dora,
        task_type="CAUSAL_LM",
    )


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "an init": ({"init": "eva"}, tuple(PROJECTS), "the init 'eva'"),
    "a variant": ({"variant": "kasa"}, tuple(PROJECTS), "the variant 'kasa'"),
    "two rates": ({"b_rate_over_a": 4.0}, ("trl",), "learning rate of B that is 4 times"),
    "a part of alpha": ({"alpha_over_rank": 0.3}, ("axolotl",), "an alpha of 2.4"),
    "a density": ({"density": 0.5}, tuple(PROJECTS), "trains lora with a density"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_project_has_no_field_for_is_refused(case: str, tmp_path: Path) -> None:
    changes, projects, message = REFUSED[case]
    done, adapter = trial(tmp_path / "adapter", "llama", {"method": "lora", **changes})
    for project in PROJECTS:
        if project in projects:
            with pytest.raises(RequestError, match=message):
                recipe(project, done, adapter, WRITER)
        else:
            written(project, done, adapter)


def test_two_rates_and_starts_are_written_where_there_are_fields(tmp_path: Path) -> None:
    data = {"method": "lora", "init": "pissa", "b_rate_over_a": 4.0}
    done, adapter = trial(tmp_path / "adapter", "llama", data)
    theirs = written("llama-factory", done, adapter)
    assert (theirs["pissa_init"], theirs["loraplus_lr_ratio"]) == (True, 4.0)
    theirs = written("axolotl", done, adapter)
    assert (theirs["peft_init_lora_weights"], theirs["loraplus_lr_ratio"]) == ("pissa", 4.0)


def test_other_tasks_methods_and_files_are_refused(tmp_path: Path) -> None:
    done, adapter = trial(tmp_path / "adapter", "llama", {"method": "lora"})
    assert WRITER.writing is not None
    reads = replace(WRITER, writing=replace(WRITER.writing, output="target_tokens"))
    gguf = replace(WRITER, reference=replace(WRITER.reference, location="/m.gguf", hub_id=None))
    refused = {"classifies or rates": FACTS, "encoder-decoder": reads, "GGUF": gguf}
    other = with_configuration(replace(done.spec.configuration, components=()))
    for project in PROJECTS:
        for message, facts in refused.items():
            with pytest.raises(RequestError, match=message):
                recipe(project, done, adapter, facts)
        with pytest.raises(RequestError, match="trains head, and recipes"):
            recipe(project, other, adapter, WRITER)


def recipes(project: str, folder: Path) -> list[str]:
    """Return the recipes of all trials that a project can train."""
    found = []
    for family in FAMILIES:
        for name, data in CONFIGURATIONS.items():
            done, adapter = trial(folder / family / name, family, data)
            if (project, name) != ("axolotl", "dora"):  # whose alpha is no whole number
                found.append(recipe(project, done, adapter, WRITER)[1])
    return found


def test_trl_reads_its_recipes(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    parser = trl.TrlParser((trl.ScriptArguments, trl.SFTConfig, trl.ModelConfig))
    for text in recipes("trl", tmp_path):
        settings = yaml.safe_load(text)
        (tmp_path / "trl.yaml").write_text(text)
        read = parser.parse_args_and_config(["--config", str(tmp_path / "trl.yaml")])
        config = trl.get_peft_config(read[2])
        assert (config.lora_alpha if config else None) == settings.get("lora_alpha")
        assert (read[0].dataset_name, read[1].max_length) == ("data", 64)
        assert read[1].gradient_accumulation_steps == 2


def test_llama_factory_reads_its_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It refuses newer versions of transformers, whose arguments are the same.
    monkeypatch.setitem(os.environ, "DISABLE_VERSION_CHECK", "1")
    hparams = pytest.importorskip("llamafactory.hparams")
    for text in recipes("llama-factory", tmp_path):
        settings = yaml.safe_load(text)
        _, data, training, tuning, _ = hparams.get_train_args(dict(settings))
        assert data.dataset == ["train"]
        assert training.gradient_accumulation_steps == 2
        assert tuning.finetuning_type == settings["finetuning_type"]
        if tuning.finetuning_type == "lora":
            assert tuning.lora_target == settings["lora_target"].split(",")
            assert tuning.lora_alpha == settings["lora_alpha"]


def test_axolotl_reads_its_recipes(tmp_path: Path) -> None:
    config = pytest.importorskip("axolotl.utils.schemas.config")
    for text in recipes("axolotl", tmp_path):
        settings = yaml.safe_load(text)
        read = config.AxolotlInputConfig(**settings)
        assert read.learning_rate == settings["learning_rate"]
        assert read.lora_target_modules == settings.get("lora_target_modules")
        assert read.datasets[0].type.field_instruction == "prompt"
