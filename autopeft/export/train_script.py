"""`train.py`: the script that trains a trial again with transformers and peft alone."""

from torch import nn
from transformers import PreTrainedModel

from autopeft.errors import RequestError
from autopeft.export.facts import ExportFacts
from autopeft.export.script import CLASSES, fill, in_quotes
from autopeft.methods.depth import frozen_depth
from autopeft.methods.library import LibraryMethod
from autopeft.methods.registry import get_method
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_config, meta_model
from autopeft.models.spec import inspect_model, layers_of
from autopeft.space.configuration import Component
from autopeft.trials.batches import BATCHES_PER_BLOCK
from autopeft.trials.engine import EVAL_TOKENS_ON_CPU
from autopeft.trials.precision import MAX_GRAD_NORM
from autopeft.trials.trial import TrialRecord

#: What of LoRA asks more than peft's config says: a look at the data, frozen factors, penalties.
_PLAIN_VARIANTS = {"plain", "rslora", "dora", "velora"}
_PLAIN_INITS = {"default", "gaussian", "orthogonal", "pissa", "olora", "mica"}

_ATTACH = '''def attach(model):
    """Attach what adapter_config.json beside this script says, untrained."""
    config = PeftConfig.from_pretrained(str(HERE))
    config.inference_mode = False
    config.base_model_name_or_path = None  # it becomes the name of the model that is given
    return get_peft_model(model, config)'''
_ATTACH_NOTHING = '''def attach(model):
    """Let all weights train."""
    return model.requires_grad_(True)'''


def train_script(
    record: TrialRecord,
    facts: ExportFacts,
    head: TaskHead,
    *,
    precision: str,
    trust_remote_code: bool = False,
) -> str:
    """Return the text of `train.py`.

    Args:
        record: The trial.
        facts: What the script has to know.
        head: What the task asks of the model.
        precision: What the study was asked to compute in.
        trust_remote_code: Whether Python code that comes with the model may run.

    Raises:
        RequestError: If transformers and peft alone cannot train this.
    """
    _check(record, facts)
    config = load_config(facts.reference, head, trust_remote_code=trust_remote_code)
    model = meta_model(config, head.kind)
    spec = inspect_model(model)
    configuration = record.spec.configuration
    depth = frozen_depth(configuration, spec)
    full = configuration.method == "full"
    trained = [_name(model, layer) for layer in layers_of(model)[depth:]] if depth else []
    model_class = CLASSES[facts.writing.output if facts.writing else "labels"]
    return fill(
        "train.py.txt",
        needs="torch and transformers" if full else "torch, transformers and peft",
        imports=_imports(model_class, full=full),
        base=repr(facts.reference.hub_id),
        base_name=in_quotes(facts.base),
        recorded=f"{record.quality:.6f}",
        metric=facts.metric,
        **_settings(record),
        max_length=str(facts.max_length),
        head=repr(list(spec.head_modules)),
        trained_layers=repr(trained),
        batches_per_block=str(BATCHES_PER_BLOCK),
        eval_tokens=str(EVAL_TOKENS_ON_CPU),
        encode=_encode(facts),
        model_class=model_class,
        head_settings=_head_settings(facts),
        attach=_ATTACH_NOTHING if full else _ATTACH,
        save_settings="" if full else ", save_embedding_layers=False",
        max_grad_norm=str(MAX_GRAD_NORM),
        scores=fill("train/scores.py.txt").rstrip(),
        precision=repr(precision if precision == "bf16" else "float32"),
    )


def _settings(record: TrialRecord) -> dict[str, str]:
    """Return the hyperparameters of a training as Python writes them, by their places."""
    configuration = record.spec.configuration
    training, params = configuration.training, dict(configuration.components[0].params)
    return {
        "seed": str(record.spec.seed),
        "epochs": repr(record.spec.epochs),
        "learning_rate": repr(training.learning_rate),
        "head_learning_rate": repr(training.head_learning_rate or training.learning_rate),
        "b_rate": repr(params.get("b_rate_over_a", 1.0)),
        "batch_size": str(training.batch_size),
        "rows_at_once": str(training.rows_at_once),
        "max_tokens": repr(training.max_tokens),
        "weight_decay": repr(training.weight_decay),
        "warmup_share": repr(training.warmup_share),
    }


def _check(record: TrialRecord, facts: ExportFacts) -> None:
    components = record.spec.configuration.components
    if len(components) != 1 or (reason := _more_than_peft(components[0])):
        what = reason if len(components) == 1 else "several components, or none"
        raise RequestError(
            f"transformers and peft alone cannot train trial {record.number} ({what}): leave "
            "script out of --format, and train it with `autopeft train --config` and the "
            "configuration.yaml of the export."
        )
    if facts.reference.location.endswith(".gguf"):
        raise RequestError(
            f"transformers does not train GGUF files, such as '{facts.base}': leave script out "
            "of --format."
        )


def _more_than_peft(component: Component) -> str | None:
    """Return what peft's config does not say of a component, if anything."""
    params, method = dict(component.params), component.method
    if method == "full":
        return None
    if not isinstance(get_method(method), LibraryMethod) or method == "adalora":
        return f"{method} has a training of its own"
    if params.get("density", 1.0) != 1.0:
        return f"{method} with a density"
    if method == "lora":
        if params.get("variant", "plain") not in _PLAIN_VARIANTS:
            return f"lora's variant '{params['variant']}'"
        if params.get("init", "default") not in _PLAIN_INITS:
            return f"lora's init '{params['init']}'"
    return None


def _name(model: PreTrainedModel, layer: nn.Module) -> str:
    names = {module: name for name, module in model.named_modules()}
    return str(names[layer])


def _imports(model_class: str, *, full: bool) -> str:
    names = ", ".join([*sorted(["AutoConfig", "AutoTokenizer", model_class]), "logging"])
    peft = "" if full else "from peft import PeftConfig, get_peft_model\n"
    return f"{peft}from transformers import {names}"


def _head_settings(facts: ExportFacts) -> str:
    if facts.writing is not None:
        return ""
    problem = "single_label_classification" if facts.labels else "regression"
    return f', num_labels={len(facts.labels) or 1}, problem_type="{problem}"'


def _encode(facts: ExportFacts) -> str:
    if facts.writing is None:
        prediction = "logits.argmax(-1)" if facts.labels else "logits[:, 0]"
        return fill("train/labels.py.txt", prediction=prediction).rstrip()
    shift = "1" if facts.writing.output == "next_tokens" else "0"
    encode = fill(f"train/{facts.writing.output}.py.txt").rstrip()
    return f"{encode}\n\n\n{fill('train/texts.py.txt', shift=shift).rstrip()}"
