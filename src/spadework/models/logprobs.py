"""Log-probabilities of given tokens, without ever holding the logits of a whole pack.

Only the positions that predict a target go through the output matrix, in slices of rows. A slice's logits are computed again in the
backward pass, where they become the gradient in place, so the peak is one slice and not tokens x vocabulary. On a CPU a slice stays in
the cache, and the second product is cheaper than writing the logits and reading them back.

Shapes: M targets, D hidden size, V vocabulary. Not done here: second derivatives.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spadework.models.blocks import add_product
from spadework.models.decoder import DecoderWeights

__all__ = ["token_logprobs"]


class _LabelLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_MD: Tensor, head_VD: Tensor, labels_M: Tensor, temperature: float, num_rows: int) -> Tensor:
        logprobs, totals = (hidden_MD.new_empty(len(hidden_MD), dtype=torch.float32) for _ in range(2))
        for rows in _rows(len(hidden_MD), num_rows):
            logits = _logits(hidden_MD[rows], head_VD, temperature)
            picked = logits.gather(1, labels_M[rows, None])[:, 0]
            largest = logits.amax(1)
            totals[rows] = logits.sub_(largest[:, None]).exp_().sum(1).log_().add_(largest)
            torch.sub(picked, totals[rows], out=logprobs[rows])
        ctx.save_for_backward(hidden_MD, head_VD, labels_M, totals)
        ctx.temperature, ctx.num_rows = temperature, num_rows
        return logprobs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_M: Tensor) -> tuple[Tensor | None, ...]:
        hidden_MD, head_VD, labels_M, totals = ctx.saved_tensors
        kind = hidden_MD.dtype
        d_hidden = torch.empty_like(hidden_MD)
        d_head = torch.zeros_like(head_VD, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        grad_M = grad_M / ctx.temperature
        for rows in _rows(len(hidden_MD), ctx.num_rows):
            probs = _logits(hidden_MD[rows], head_VD, ctx.temperature).sub_(totals[rows, None]).exp_().to(kind)
            # d logprob / d logits = onehot - probs; the factor per row goes to the narrow side of both products.
            grad = grad_M[rows, None].to(kind)
            torch.sub(head_VD[labels_M[rows]], torch.mm(probs, head_VD), out=d_hidden[rows]).mul_(grad)
            if d_head is not None:
                weighted = hidden_MD[rows] * grad
                add_product(d_head, probs.t(), -weighted)
                d_head.index_add_(0, labels_M[rows], weighted.float())
        return d_hidden, None if d_head is None else d_head.to(head_VD.dtype), None, None, None


def _rows(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _logits(hidden: Tensor, head: Tensor, temperature: float) -> Tensor:
    logits = torch.mm(hidden, head.t()).float()
    return logits if temperature == 1.0 else logits.div_(temperature)


def token_logprobs(
    weights: DecoderWeights, hidden_MD: Tensor, labels_M: Tensor, *, temperature: float = 1.0, chunk_elements: int | None = None
) -> Tensor:
    """Log-probability [M] of each label in nats, float32, differentiable.

    Args:
        weights: fused matrices.
        hidden_MD: hidden state that predicts each label.
        labels_M: token ids.
        temperature: divides the logits, as the sampler did; 0 counts as 1.
        chunk_elements: at most about this many logits at once; by default what suits the device.
    """
    if chunk_elements is None:
        chunk_elements = max(1 << 19, 128 * len(weights.head)) if hidden_MD.device.type == "cpu" else 1 << 27
    return _LabelLogprobs.apply(hidden_MD, weights.head, labels_M, temperature or 1.0, max(1, chunk_elements // len(weights.head)))
