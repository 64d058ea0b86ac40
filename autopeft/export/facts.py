"""`ExportFacts`: what the files of an export say beside the trial itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autopeft.models.registry import ModelReference
from autopeft.models.spec import Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How a model was asked to write.

    Attributes:
        output: What the model gives: `next_tokens` of a decoder, `target_tokens` of a decoder
            beside an encoder.
        text_columns: Columns of the texts that a prompt is made of; none where a text is written
            from its beginning.
        prompt: What comes before the text, with `{column}` where a text goes.
    """

    output: Output
    text_columns: tuple[str, ...]
    prompt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFacts:
    """What the files of an export say beside the trial itself.

    Attributes:
        reference: The base model.
        task: Name of the task.
        about: The task in one sentence.
        metric: Name of the quality.
        labels: Names of the classes; empty where there are none.
        max_length: Longest input in tokens.
        n_layers: Layers of the base model.
        n_texts: Texts of an input.
        writing: How the model was asked to write; `None` where it classifies or rates.
        origin: Where the data comes from.
        fingerprint: Fingerprint of the data.
        train_rows: Number of training rows.
        eval_rows: Number of validation rows.
        command: The command of the study.
        versions: Versions of the packages, by name.
        front: The front as a table in Markdown.
        trials: How many trials ended how.
        noise: How sure the trial's quality is, in words; empty if nothing is known of it.
        license: License of the base model, if its card names one.
        dataset: Name of the data set on the Hugging Face Hub, if it is from there.
        picture: File with a picture of the front, if there is one.
        measured: Quality of the exported adapter where it is not the trial's, because it was
            compressed.
        derived: What became of it then, in words.
        searched: Whether a search found the configuration, and it was not given.
    """

    reference: ModelReference
    task: str
    about: str
    metric: str
    labels: tuple[str, ...]
    max_length: int
    n_layers: int
    n_texts: int
    writing: Writing | None
    origin: str
    fingerprint: str
    train_rows: int
    eval_rows: int
    command: str
    versions: Mapping[str, str]
    front: str
    trials: str
    noise: str = ""
    license: str | None = None
    dataset: str | None = None
    picture: Path | None = None
    measured: float | None = None
    derived: str = ""
    searched: bool = True

    @property
    def base(self) -> str:
        """Name of the base model for other machines: the Hub's, or that of its folder or file."""
        return self.reference.hub_id or Path(self.reference.location).name


def example_texts(n_texts: int) -> list[str]:
    """Return texts that show how many a model with so many text columns takes."""
    if n_texts == 0:
        return ["the beginning of a text"]
    return ["a text", "its second text", *(["another text"] * n_texts)][:n_texts]
