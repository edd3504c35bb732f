"""A teacher: a checkpoint whose log-probabilities of the policy's tokens an objective reads (DGPO, arXiv 2508.20324: `failure-kl`).

It sees the policy's token ids as they are (invariant 1), so its vocabulary must be the policy's: a larger model of the same family, or what
an earlier run has saved. It may have another shape. Rows that a checkpoint pads its embedding with are no tokens and may differ in number.
"""

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from spadework.core.errors import InputError
from spadework.models.checkpoint import load_model, load_tokenizer, parameters
from spadework.training.packed import ModelWeights

__all__ = ["check_teacher", "load_teacher"]


def check_teacher(path: str | Path, tokenizer: PreTrainedTokenizerBase, setting: str = "rl.teacher") -> None:
    """Refuse a teacher that reads other tokens than the policy.

    Args:
        path: its checkpoint.
        tokenizer: the policy's.
        setting: what names it in the recipe.

    Raises:
        InputError: there is no tokenizer, or it is another one.
    """
    mine, theirs = tokenizer.get_vocab(), load_tokenizer(path).get_vocab()
    wrong = sorted((number, token) for token, number in mine.items() ^ theirs.items())
    if wrong:
        raise InputError(
            f"{setting}: {path} has another tokenizer than the policy ({len(theirs)} and {len(mine)} tokens, which first differ at "
            f"{wrong[0][0]}: {wrong[0][1]!r}); a teacher must read the policy's tokens, so take one of the same family"
        )


def load_teacher(path: str | Path, *, device: str, dtype: torch.dtype) -> ModelWeights:
    """Its weights.

    Raises:
        InputError: there is no checkpoint, it is damaged, or its architecture is not supported.
    """
    model = load_model(path, dtype=dtype).to(device)
    return ModelWeights(model.config, parameters(model))
