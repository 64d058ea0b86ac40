"""`Project`: what TRL, LLaMA-Factory and Axolotl can be asked to train, in their own fields."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autopeft.export.lora_plan import LoraPlan
from autopeft.trials.precision import MAX_GRAD_NORM

#: Where recipes find the rows of the study, from the exported folder.
DATA, LLAMA_FACTORY_DATA = "data", "llama_factory_data"

Settings = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeTraining:
    """A training as all three know it.

    Attributes:
        base: The base model.
        max_length: Longest row in tokens.
        learning_rate: Peak learning rate.
        micro_batch: Examples in one forward.
        n_parts: Forwards of a step.
        epochs: Passes over the rows.
        warmup_steps: Steps in which the learning rate rises.
        weight_decay: AdamW's, on matrices only.
        seed: Seed of the adapter and of the order.
    """

    base: str
    max_length: int
    learning_rate: float
    micro_batch: int
    n_parts: int
    epochs: float
    warmup_steps: int
    weight_decay: float
    seed: int

    def shared(self) -> Settings:
        """Return the settings that transformers' `TrainingArguments` name."""
        return {
            "output_dir": "trained",
            "learning_rate": self.learning_rate,
            "per_device_train_batch_size": self.micro_batch,
            "gradient_accumulation_steps": self.n_parts,
            "num_train_epochs": self.epochs,
            "lr_scheduler_type": "linear",
            "warmup_steps": self.warmup_steps,
            "weight_decay": self.weight_decay,
            "max_grad_norm": MAX_GRAD_NORM,
            "optim": "adamw_torch",
            "seed": self.seed,
            "bf16": False,
            "eval_strategy": "epoch",
            "save_strategy": "epoch",
            "report_to": "none",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What one project can be asked to train.

    Attributes:
        title: Its name as it is written.
        version: Version whose fields the recipe keeps to.
        file: Name of the recipe.
        command: How the recipe is run.
        variants: Variants of LoRA that it has.
        inits: Starts of LoRA that it has.
        two_rates: Whether B can have a learning rate of its own.
        whole_alpha: Whether alpha must be a whole number.
        settings: Returns the recipe.
    """

    title: str
    version: str
    file: str
    command: str
    variants: frozenset[str]
    inits: frozenset[str]
    two_rates: bool
    whole_alpha: bool
    settings: Callable[[RecipeTraining, LoraPlan | None], Settings]


def _trl(training: RecipeTraining, plan: LoraPlan | None) -> Settings:
    settings: Settings = {
        "model_name_or_path": training.base,
        "dtype": "float32",
        "dataset_name": DATA,
        "dataset_train_split": "train",
        "dataset_test_split": "validation",
        "max_length": training.max_length,
        "completion_only_loss": True,
        "packing": False,
    }
    if plan is not None:
        settings |= {
            "use_peft": True,
            "lora_r": plan.rank,
            "lora_alpha": _number(plan.alpha),
            "lora_dropout": plan.dropout,
            "lora_target_modules": list(plan.targets),
            "use_rslora": plan.variant == "rslora",
            "use_dora": plan.variant == "dora",
        }
    return settings | training.shared()


def _llama_factory(training: RecipeTraining, plan: LoraPlan | None) -> Settings:
    settings: Settings = {
        "model_name_or_path": training.base,
        "stage": "sft",
        "do_train": True,
        "dataset_dir": LLAMA_FACTORY_DATA,
        "dataset": "train",
        "eval_dataset": "validation",
        "template": "empty",
        "cutoff_len": training.max_length,
        "finetuning_type": "full" if plan is None else "lora",
    }
    if plan is not None:
        settings |= {
            "lora_rank": plan.rank,
            "lora_alpha": _number(plan.alpha),
            "lora_dropout": plan.dropout,
            "lora_target": ",".join(plan.targets),
            "use_rslora": plan.variant == "rslora",
            "use_dora": plan.variant == "dora",
        }
        if plan.init == "pissa":  # by a whole SVD, and written as a LoRA on the base as it was
            settings |= {"pissa_init": True, "pissa_iter": -1, "pissa_convert": True}
        if plan.b_rate_over_a != 1:
            settings["loraplus_lr_ratio"] = plan.b_rate_over_a
    return settings | training.shared()


def _axolotl(training: RecipeTraining, plan: LoraPlan | None) -> Settings:
    columns = {
        "field_instruction": "prompt",
        "field_output": "completion",
        "format": "{instruction}",
        "no_input_format": "{instruction}",
    }
    splits = {
        name: {"path": f"{DATA}/{split}.jsonl", "ds_type": "json", "split": "train"}
        for name, split in (("datasets", "train"), ("test_datasets", "validation"))
    }
    settings: Settings = {
        "base_model": training.base,
        **{name: [{**split, "type": dict(columns)}] for name, split in splits.items()},
        "train_on_inputs": False,
        "sequence_len": training.max_length,
        "excess_length_strategy": "truncate",  # it would drop the row
        "sample_packing": False,
    }
    if plan is not None:
        settings |= {
            "adapter": "lora",
            "lora_r": plan.rank,
            "lora_alpha": round(plan.alpha),
            "lora_dropout": plan.dropout,
            "lora_target_modules": list(plan.targets),
            "peft_use_rslora": plan.variant == "rslora",
            "peft_use_dora": plan.variant == "dora",
        }
        if plan.init != "default":
            settings["peft_init_lora_weights"] = plan.init
        if plan.b_rate_over_a != 1:
            settings["loraplus_lr_ratio"] = plan.b_rate_over_a
    return settings | {
        "output_dir": "trained",
        "learning_rate": training.learning_rate,
        "micro_batch_size": training.micro_batch,
        "gradient_accumulation_steps": training.n_parts,
        "num_epochs": training.epochs,
        "lr_scheduler": "linear",
        "warmup_steps": training.warmup_steps,
        "weight_decay": training.weight_decay,
        "max_grad_norm": MAX_GRAD_NORM,
        "optimizer": "adamw_torch",
        "seed": training.seed,
        "bf16": False,
        "tf32": False,
        "evals_per_epoch": 1,
        "saves_per_epoch": 1,
    }


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


_VARIANTS = frozenset({"plain", "rslora", "dora"})
PROJECTS: Mapping[str, Project] = {
    "trl": Project(
        title="TRL",
        version="TRL 1.16.0",
        file="trl.yaml",
        command="trl sft --config",
        variants=_VARIANTS,
        inits=frozenset({"default"}),
        two_rates=False,
        whole_alpha=False,
        settings=_trl,
    ),
    "llama-factory": Project(
        title="LLaMA-Factory",
        version="LLaMA-Factory 0.9.5",
        file="llama_factory.yaml",
        command="llamafactory-cli train",
        variants=_VARIANTS,
        inits=frozenset({"default", "pissa"}),
        two_rates=True,
        whole_alpha=False,
        settings=_llama_factory,
    ),
    "axolotl": Project(
        title="Axolotl",
        version="Axolotl 0.19.0",
        file="axolotl.yaml",
        command="axolotl train",
        variants=_VARIANTS,
        inits=frozenset({"default", "gaussian", "orthogonal", "pissa", "olora"}),
        two_rates=True,
        whole_alpha=True,
        settings=_axolotl,
    ),
}
