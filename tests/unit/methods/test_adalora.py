from pathlib import Path

import torch
from peft import PeftModel

from tests.contracts.test_methods import STEPS, attached, train
from tests.tiny import build, logits


def test_a_matrix_that_has_lost_every_rank_is_saved(tmp_path: Path) -> None:
    """peft refuses to write empty matrices; a search must not lose its trial for that."""
    attachment, _ = attached("adalora", {}, "bert")
    train(attachment, "bert", STEPS)
    config = attachment.model.active_peft_config
    name, kept = next(iter(config.rank_pattern.items()))
    config.rank_pattern[name] = [False] * len(kept)
    attachment.after_optimizer_step(STEPS)  # sets the pruned values to zero
    trained = logits(attachment.model, "bert")
    attachment.save(tmp_path)
    loaded = PeftModel.from_pretrained(build("bert"), str(tmp_path))
    assert torch.allclose(logits(loaded, "bert"), trained, atol=1e-6)
