"""Log-probabilities of given tokens, without ever holding the logits of a whole pack.

Only the positions that predict a target go through the output matrix, in chunks; with gradients a chunk's logits are computed again in the
backward pass, so the peak is chunk x vocabulary and not tokens x vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from spadework.models.decoder import DecoderWeights, logits

__all__ = ["token_logprobs"]


def token_logprobs(
    weights: DecoderWeights, hidden_MD: Tensor, labels_M: Tensor, *, temperature: float = 1.0, chunk_elements: int = 1 << 25
) -> Tensor:
    """Log-probability [M] of each label in nats, float32, differentiable.

    Args:
        weights: fused matrices.
        hidden_MD: hidden state that predicts each label.
        labels_M: token ids.
        temperature: divides the logits, as the sampler did; 0 counts as 1.
        chunk_elements: at most this many logits at once.
    """

    def chunk(hidden: Tensor, labels: Tensor) -> Tensor:
        logits_MV = logits(weights, hidden)
        if temperature not in (0.0, 1.0):
            logits_MV = logits_MV / temperature
        return -F.cross_entropy(logits_MV, labels, reduction="none")

    rows = max(1, chunk_elements // len(weights.head))
    if len(hidden_MD) <= rows:
        return chunk(hidden_MD, labels_M)
    return torch.cat(
        [
            checkpoint(chunk, hidden, labels, use_reentrant=False)
            for hidden, labels in zip(hidden_MD.split(rows), labels_M.split(rows), strict=True)
        ]
    )
