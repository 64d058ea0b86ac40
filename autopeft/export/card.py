"""The model card of an exported folder, as the Hugging Face Hub reads it."""

from collections.abc import Mapping

from huggingface_hub import EvalResult, ModelCardData

from autopeft.export.facts import ExportFacts, Writing, example_texts
from autopeft.export.script import fill
from autopeft.models.spec import Output
from autopeft.space.wording import layer_text, setting_text, target_text
from autopeft.trials.trial import TrialRecord

#: The Hub's names of what models do.
_PIPELINES: dict[Output, str] = {
    "labels": "text-classification",
    "next_tokens": "text-generation",
    "target_tokens": "text2text-generation",
}
#: The Hub's names of metrics, where they are other ones.
_HUB_METRICS = {
    "macro_f1": "f1",
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "token_accuracy": "accuracy",
}
#: What the template leaves to how the trial came about: by a search, or trained as it was given.
_SEARCHED = {
    "made": "found by a search over PEFT configurations",
    "stands": "The Pareto front of the search",
    "flatters": "The quality was measured on the validation rows that the search also chose by, so "
    "it flatters a\nlittle",
    "picture": "The front of the search",
}
_TRAINED = {
    "made": "trained as it was given",
    "stands": "The configuration as its study has it",
    "flatters": "The quality was measured on the validation rows alone, which may be those that "
    "the\nconfiguration was chosen by",
    "picture": "The configuration in its study",
}
#: Name of the picture of the front in an exported folder.
PICTURE = "front.png"


def model_card(record: TrialRecord, facts: ExportFacts, library: str) -> str:
    """Return the text of `README.md`.

    Args:
        record: The trial.
        facts: What the card says beside it.
        library: What reads the weights: `peft`, `autopeft`, or `transformers` alone.
    """
    configuration = record.spec.configuration
    training = configuration.training
    words = _SEARCHED if facts.searched else _TRAINED
    example = [f'"{text}"' for text in example_texts(facts.n_texts)]
    usage = (
        "from predict import load, predict\n\nmodel, tokenizer = load()\n"
        f"print(predict(model, tokenizer, {', '.join(example)}))"
    )
    return fill(
        "model_card.md",
        metadata=_metadata(record, facts, library),
        base=facts.base,
        title=f"{facts.task}: {configuration.method} on {facts.base}",
        task=facts.task,
        about=facts.about,
        metric=facts.metric,
        quality=f"{_quality(record, facts):.4f}",
        noise=f" ({facts.noise})" if facts.noise and not facts.derived else "",
        derived=f"\n{facts.derived}\n" if facts.derived else "",
        adapter_params=f"{record.cost.adapter_params:,}",
        share=f"{100 * record.cost.adapter_params / record.cost.base_params:.3g} %",
        head_params=f"{record.cost.head_params:,}",
        memory=f"{record.cost.peak_memory_bytes / 2**20:,.0f} MiB",
        method=configuration.method,
        targets=target_text(configuration) or "none",
        layers=layer_text(configuration, facts.n_layers) or "none",
        settings=setting_text(configuration) or "none",
        learning_rate=f"{training.learning_rate:g}",
        batch_size=str(training.batch_size),
        epochs=f"{record.spec.epochs:g} epoch{'s' * (record.spec.epochs != 1)}",
        seed=str(record.spec.seed),
        origin=facts.origin,
        fingerprint=facts.fingerprint,
        train_rows=f"{facts.train_rows:,}",
        eval_rows=f"{facts.eval_rows:,}",
        usage=usage,
        example=" ".join(example),
        writing=_about_writing(facts.writing),
        trials=facts.trials,
        number=str(record.number),
        front=facts.front,
        made=words["made"],
        stands=words["stands"],
        flatters=words["flatters"],
        picture=f"\n![{words['picture']}]({PICTURE})\n" if facts.picture else "",
        max_length=str(facts.max_length),
        license=_about_license(facts),
        command=facts.command,
        versions=_versions(facts.versions),
    )


def _metadata(record: TrialRecord, facts: ExportFacts, library: str) -> str:
    """Return the card's data for the Hub, as YAML."""
    result = EvalResult(
        task_type=_PIPELINES[facts.writing.output if facts.writing else "labels"],
        dataset_type=facts.dataset or facts.task,
        dataset_name=facts.task,
        dataset_split="validation",
        metric_type=_HUB_METRICS.get(facts.metric, facts.metric),
        metric_value=round(_quality(record, facts), 6),
        metric_name=facts.metric,
    )
    data = ModelCardData(
        # The Hub knows models by its own names alone, not by folders of this machine.
        base_model=facts.reference.hub_id,
        library_name=library,
        pipeline_tag=result.task_type,
        license=facts.license,
        datasets=[facts.dataset] if facts.dataset else None,
        metrics=[result.metric_type],
        tags=["autopeft", *record.spec.configuration.method.split("+")],
        model_name=f"{facts.task} by {record.spec.configuration.method}",
        eval_results=[result],
    )
    return data.to_yaml().rstrip()


def _quality(record: TrialRecord, facts: ExportFacts) -> float:
    """Return the quality of what is in the folder."""
    quality = record.quality if facts.measured is None else facts.measured
    assert quality is not None
    return quality


def _about_license(facts: ExportFacts) -> str:
    if facts.license is None:
        return (
            "The license of the base model applies to it and to what is derived from it; its card "
            "was not at hand."
        )
    return (
        f"The base model's license, {facts.license}, applies to it and to what is derived from it."
    )


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _about_writing(writing: Writing | None) -> str:
    """Return what to know of a model that writes, as paragraphs; nothing for others."""
    if writing is None:
        return ""
    prompt = f"The prompt, which `predict.py` makes, is\n\n    {writing.prompt!r}"
    if not writing.text_columns and not writing.prompt:
        prompt = "There is no prompt: a text is continued from its beginning."
    return (
        f"\n{prompt}\n\n`token_accuracy` is the share of tokens that are right when the right "
        "ones stand before each;\nwhat the model writes freely was not measured.\n"
    )
