"""What is measured is what the model says, in whatever batches it is asked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autopeft.models.completions import IGNORED
from autopeft.trials.engine import Engine
from autopeft.trials.training import TrialRun
from tests.tiny import save_tiny
from tests.workload import WRITING, tiny_engine, trial


@pytest.fixture(scope="module", params=["llama", "t5"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_data: Path
) -> Engine:
    """Without dropout, which would fall differently on parts of a batch."""
    folder = save_tiny(request.param, tmp_path_factory.mktemp("writer"), "language_modeling")
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dropout_rate": 0.0}))
    return tiny_engine(folder, tiny_data, task=WRITING)


def test_the_loss_and_the_accuracy_are_those_of_all_tokens(engine: Engine) -> None:
    """Against transformers' own loss of all rows at once, and a count token by token."""
    run = TrialRun(engine, trial(engine))
    run._train_to(8)
    metrics, loss = run.evaluate()
    split = engine.workload.validation
    batch = split.batch(range(len(split)), engine.device)
    with torch.inference_mode():
        output = run._attachment.model.eval()(**batch)
    assert loss == pytest.approx(float(output.loss), rel=1e-5)
    right = n_tokens = 0
    shift = 1 if split.output == "next_tokens" else 0
    for logits, labels in zip(output.logits, batch["labels"], strict=True):
        for place, label in enumerate(labels[shift:].tolist()):
            if label != IGNORED:
                n_tokens += 1
                right += int(logits[place].argmax()) == label
    assert 0 < right < n_tokens
    assert metrics == {"token_accuracy": pytest.approx(right / n_tokens)}
    assert n_tokens == split.n_learned(range(len(split)))
    run.close()


def test_batches_do_not_matter(engine: Engine) -> None:
    run = TrialRun(engine, trial(engine))
    metrics, loss = run.evaluate()
    before, engine.eval_tokens = engine.eval_tokens, 20
    again, same = run.evaluate()
    engine.eval_tokens = before
    run.close()
    assert again == pytest.approx(metrics)
    assert same == pytest.approx(loss, rel=1e-5)


def test_parts_of_a_batch_count_by_their_labels(engine: Engine) -> None:
    """Rows have different numbers of them: the loss is the mean over all."""
    spec = trial(engine)
    losses = []
    for size in (None, 3):
        training = replace(spec.configuration.training, micro_batch_size=size)
        changed = replace(spec, configuration=replace(spec.configuration, training=training))
        run = TrialRun(engine, changed)
        losses.append(run._train_to(run.total_steps))
        run.close()
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
