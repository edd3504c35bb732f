"""The peer of sampling: `generate` of transformers, turn by turn over the whole batch.

This is how a rollout loop is written on top of `generate`: left-padded prompts, sampling, and in every turn the whole conversation again,
because `generate` keeps nothing between two calls. The number of new tokens is forced, so both sides sample the same number.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

__all__ = ["sample_turn"]


def sample_turn(model: PreTrainedModel, conversations: Sequence[Sequence[int]], num_tokens: int) -> list[list[int]]:
    """The next tokens of every conversation."""
    width = max(map(len, conversations))
    token_ids = torch.full((len(conversations), width), model.config.pad_token_id)
    mask = torch.zeros_like(token_ids)
    for row, tokens in enumerate(conversations):
        token_ids[row, width - len(tokens) :] = torch.tensor(tokens)
        mask[row, width - len(tokens) :] = 1
    with torch.inference_mode():
        output = model.generate(
            token_ids.to(model.device),
            attention_mask=mask.to(model.device),
            do_sample=True,
            top_k=0,
            min_new_tokens=num_tokens,
            max_new_tokens=num_tokens,
        )
    return output[:, width:].tolist()
