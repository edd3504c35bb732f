"""Checkpoints of a stage: a Hugging Face folder with the trainer's state in one file beside it.

Everything random is derived from the step's number, so weights, optimiser state and the step are all that an exact resume needs.
"""

import shutil
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spadework.core.errors import InputError
from spadework.core.run import Run
from spadework.models.checkpoint import save_checkpoint
from spadework.training.learner import Learner

__all__ = ["keep_checkpoint", "load_trainer_state", "save_stage"]

STATE = "trainer_state.pt"


def keep_checkpoint(step: int, total: int, every: int) -> bool:
    """Whether a step ends with a checkpoint."""
    return step == total or step % every == 0


def save_stage(run: Run, stage: str, learner: Learner, tokenizer: PreTrainedTokenizerBase, *, keep: int = 2) -> Path:
    """Write a checkpoint of a stage and drop all but the newest `keep` of that stage."""
    with run.checkpoint(stage, learner.step_number) as folder:
        save_checkpoint(learner.model, tokenizer, folder)
        torch.save(learner.state_dict(), folder / STATE)
    for _, old in run.checkpoints(stage)[:-keep]:
        shutil.rmtree(old)
    return run.checkpoints(stage)[-1][1]


def load_trainer_state(folder: Path, model: PreTrainedModel, learner: Learner) -> None:
    """Put a learner where the checkpoint was written; the model has its weights already.

    Raises:
        InputError: the checkpoint has no trainer state.
    """
    path = folder / STATE
    if not path.is_file():
        raise InputError(f"{folder}: no {STATE}, so training cannot be resumed from it; use the folder as model.path of a new run")
    learner.load_state_dict(torch.load(path, weights_only=True))
