"""Log-probabilities of given tokens, and entropies, without ever holding the logits of a large pack.

Only the positions that predict a target go through the output matrix, in slices of rows, on a CPU such as stay in the cache. What the
backward pass needs of a slice are the exponentials of its logits. While they are few (`KEPT_ELEMENTS`) they are kept, which saves one of
four matrix products; otherwise each slice is computed again, so the peak is one slice and not tokens x vocabulary.

Shapes: M targets, D hidden size, V vocabulary. Not done here: second derivatives.
"""

from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spadework.models import steps
from spadework.models.blocks import add_product, right, summed
from spadework.models.decoder import DecoderWeights
from spadework.models.threads import in_threads

__all__ = ["token_entropies", "token_logprobs"]

Part = TypeVar("Part")
Result = TypeVar("Result")

SHARED_ELEMENTS = 1 << 22
"""Largest matrix whose gradient every thread sums for itself: 16 MB in float32."""
KEPT_ELEMENTS = 1 << 26
"""Exponentials kept for the backward pass: 256 MB in float32."""


class _LabelLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_MD: Tensor, head_VD: Tensor, labels_M: Tensor, temperature: float, num_rows: int) -> Tensor:
        logprobs, largest, totals = (hidden_MD.new_empty(len(hidden_MD), dtype=torch.float32) for _ in range(3))
        head_DV = right(head_VD, len(hidden_MD))
        keep = any(ctx.needs_input_grad) and len(hidden_MD) * len(head_VD) <= KEPT_ELEMENTS

        def run(parts: Sequence[slice]) -> list[Tensor]:
            # One tensor per slice: a large one would come fresh from the operating system each time, whose clearing costs half the gain.
            kept: list[Tensor] = []
            for rows in parts:
                logits = _logits(hidden_MD[rows], head_DV, temperature)
                picked = logits.gather(1, labels_M[rows, None])[:, 0]
                exponentials = steps.softmax_parts(logits, largest[rows], totals[rows])
                torch.sub(picked - largest[rows], totals[rows].log(), out=logprobs[rows])
                if keep:
                    kept.append(exponentials.to(hidden_MD.dtype))
            return kept

        kept = _in_threads(run, _rows(len(hidden_MD), num_rows), head_VD)
        ctx.save_for_backward(hidden_MD, head_VD, labels_M, largest, totals, *chain.from_iterable(kept))
        ctx.temperature, ctx.num_rows = temperature, num_rows
        return logprobs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_M: Tensor) -> tuple[Tensor | None, ...]:
        hidden_MD, head_VD, labels_M, largest, totals, *kept = ctx.saved_tensors
        kind, wanted = hidden_MD.dtype, ctx.needs_input_grad[1]
        d_hidden = torch.empty_like(hidden_MD)
        head_DV = head_VD.t() if kept else right(head_VD, len(hidden_MD))
        grad_M = grad_M / ctx.temperature
        shares_M = (grad_M / totals).to(kind)
        grad_M = grad_M.to(kind)

        def run(parts: Sequence[tuple[slice, Tensor | None]]) -> tuple[Tensor | None]:
            d_head_DV = head_VD.new_zeros(head_VD.shape[::-1], dtype=torch.float32) if wanted else None
            for rows, exponentials in parts:
                if exponentials is None:
                    exponentials = _logits(hidden_MD[rows], head_DV, ctx.temperature).sub_(largest[rows, None]).exp_().to(kind)
                # d logprob / d logits = onehot - exponentials / total; the factors per row go to the narrow side of both products.
                grad, share = grad_M[rows, None], shares_M[rows, None]
                torch.sub(head_VD[labels_M[rows]].mul_(grad), torch.mm(exponentials, head_VD).mul_(share), out=d_hidden[rows])
                add_product(d_head_DV, (hidden_MD[rows] * -share).t(), exponentials)
            return (d_head_DV,)

        parts = list(zip_longest(_rows(len(hidden_MD), ctx.num_rows), kept))
        (d_head_DV,) = summed(_in_threads(run, parts, head_VD))
        d_head = None
        if d_head_DV is not None:
            d_head = d_head_DV.t().contiguous()
            d_head = d_head.index_add_(0, labels_M, (hidden_MD * grad_M[:, None]).float()).to(head_VD.dtype)
        return d_hidden, d_head, None, None, None, None


class _Entropies(torch.autograd.Function):
    """H = log Z - sum of p * logit, so that d H / d logit = -p * (log p + H). Slices are computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, hidden_MD: Tensor, head_VD: Tensor, temperature: float, num_rows: int) -> Tensor:
        entropies = hidden_MD.new_empty(len(hidden_MD), dtype=torch.float32)
        for rows in _rows(len(hidden_MD), num_rows):
            logprobs = _logits(hidden_MD[rows], head_VD.t(), temperature).log_softmax(1)
            entropies[rows] = -(logprobs.exp() * logprobs).sum(1)
        ctx.save_for_backward(hidden_MD, head_VD, entropies)
        ctx.temperature, ctx.num_rows = temperature, num_rows
        return entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_M: Tensor) -> tuple[Tensor | None, ...]:
        hidden_MD, head_VD, entropies = ctx.saved_tensors
        d_hidden = torch.empty_like(hidden_MD)
        d_head = torch.zeros_like(head_VD, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        for rows in _rows(len(hidden_MD), ctx.num_rows):
            logprobs = _logits(hidden_MD[rows], head_VD.t(), ctx.temperature).log_softmax(1)
            slope = logprobs.exp().mul_(logprobs.add_(entropies[rows, None])).mul_(-grad_M[rows, None] / ctx.temperature)
            slope = slope.to(hidden_MD.dtype)
            torch.mm(slope, head_VD, out=d_hidden[rows])
            add_product(d_head, slope.t(), hidden_MD[rows])
        return d_hidden, None if d_head is None else d_head.to(head_VD.dtype), None, None


def _rows(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _in_threads(work: Callable[[Sequence[Part]], Result], parts: Sequence[Part], head_VD: Tensor) -> list[Result]:
    """As `in_threads`, if every thread can have a gradient of its own; products with a large matrix fill all threads by themselves."""
    return in_threads(work, parts) if head_VD.device.type == "cpu" and head_VD.numel() <= SHARED_ELEMENTS else [work(parts)]


def _logits(hidden: Tensor, head_DV: Tensor, temperature: float) -> Tensor:
    logits = torch.mm(hidden, head_DV).float()
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
    num_rows = _num_rows(weights, hidden_MD, chunk_elements)
    return _LabelLogprobs.apply(hidden_MD, weights.head, labels_M, temperature or 1.0, num_rows)


def token_entropies(weights: DecoderWeights, hidden_MD: Tensor, *, temperature: float = 1.0, chunk_elements: int | None = None) -> Tensor:
    """Entropy [M] of the next-token distribution in nats, float32, differentiable. Arguments as for `token_logprobs`."""
    return _Entropies.apply(hidden_MD, weights.head, temperature or 1.0, _num_rows(weights, hidden_MD, chunk_elements))


def _num_rows(weights: DecoderWeights, hidden_MD: Tensor, chunk_elements: int | None) -> int:
    if chunk_elements is None:
        chunk_elements = max(1 << 18, 128 * len(weights.head)) if hidden_MD.device.type == "cpu" else 1 << 27
    return max(1, chunk_elements // len(weights.head))
