"""The model card of an exported folder, as the Hugging Face Hub reads it."""

from collections.abc import Mapping

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


def model_card(record: TrialRecord, facts: ExportFacts, library: str) -> str:
    """Return the text of `README.md`.

    Args:
        record: The trial.
        facts: What the card says beside it.
        library: What reads the weights: `peft`, `autopeft`, or `transformers` alone.
    """
    configuration = record.spec.configuration
    training = configuration.training
    example = [f'"{text}"' for text in example_texts(facts.n_texts)]
    usage = (
        "from predict import load, predict\n\nmodel, tokenizer = load()\n"
        f"print(predict(model, tokenizer, {', '.join(example)}))"
    )
    return fill(
        "model_card.md",
        base=facts.base,
        library=library,
        pipeline=_PIPELINES[facts.writing.output if facts.writing else "labels"],
        title=f"{facts.task}: {configuration.method} on {facts.base}",
        task=facts.task,
        about=facts.about,
        metric=facts.metric,
        quality=f"{record.quality:.4f}",
        noise=f" ({facts.noise})" if facts.noise else "",
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
        epochs=f"{record.spec.epochs:g}",
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
        command=facts.command,
        versions=_versions(facts.versions),
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
