"""The norm and the two halves of a decoder layer as single differentiable functions, computed in slices of rows that fit the cache.

Between two matrix products a layer is a dozen elementwise steps (`steps.py`): norms, rotation, SwiGLU. One operation at a time over a whole
pack, each reads and writes main memory. Here every slice passes through all steps while it is in the processor's cache, and the backward
pass is written out by hand, so that intermediates are computed again from the few that are kept. The gradients equal those of autograd; a
test compares them.

On a GPU there is one slice. Gradients of matrices are summed over the slices in float32. Not done here: second derivatives.
Shapes: N rows, D hidden size, I intermediate size, H query heads, K key-value heads, E head size.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spadework.models import steps
from spadework.models.threads import in_threads

__all__ = ["add_product", "mlp", "norm", "project", "right", "slices", "summed"]

SLICE_ELEMENTS = 1 << 19
"""Elements of the widest intermediate of a slice: two megabytes in float32, a core's share of the last-level cache."""


def slices(x: Tensor, width: int) -> list[slice]:
    """Slices of rows whose widest intermediate stays in the cache; at least 128 rows, so that matrix products stay efficient.

    All are equally long but for a row, and there is the same number for each thread.
    """
    rows = max(128, SLICE_ELEMENTS // width) if x.device.type == "cpu" else max(1, len(x))
    threads = torch.get_num_threads() if x.device.type == "cpu" and len(x) >= 128 * torch.get_num_threads() else 1
    count = threads * -(-len(x) // (rows * threads))
    return [slice(len(x) * number // count, len(x) * (number + 1) // count) for number in range(count)]


def right(weight: Tensor, rows: int) -> Tensor:
    """The weight [out, in] as the right side of a product, [in, out]: contiguous on a CPU, if there are rows enough to pay for the copy."""
    return weight.t().contiguous() if weight.device.type == "cpu" and rows >= 1024 else weight.t()


def add_product(total: Tensor | None, left: Tensor, right: Tensor) -> None:
    """Do total += left @ right with a total in float32; nothing if the gradient is not wanted (frozen weights)."""
    if total is not None:
        if left.dtype == total.dtype:
            total.addmm_(left, right)
        else:
            total += torch.mm(left, right)


def summed(totals: Sequence[tuple[Tensor | None, ...]]) -> tuple[Tensor | None, ...]:
    """The totals of all threads added up, column by column; None where the gradient is not wanted."""
    first, *others = totals
    for other in others:
        for total, more in zip(first, other, strict=True):
            if total is not None and more is not None:
                total += more
    return first


def _total(parameter: Tensor | None, wanted: bool = True) -> Tensor | None:
    """Zeros for the gradient of a vector, or for that of a matrix [out, in] as [in, out]: products are faster that way round."""
    return parameter.new_zeros(parameter.shape[::-1], dtype=torch.float32) if parameter is not None and wanted else None


def _gradient(total: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    return total.t().to(parameter.dtype) if total is not None and parameter is not None else None


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(x_ND, weight)
        ctx.epsilon = epsilon
        return steps.norm(x_ND, weight, epsilon)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_ND: Tensor) -> tuple[Tensor | None, ...]:
        x_ND, weight = ctx.saved_tensors
        d_x, d_weight = torch.zeros_like(x_ND), torch.zeros_like(weight, dtype=torch.float32)
        steps.norm_backward(grad_ND.contiguous(), x_ND, weight, ctx.epsilon, d_x, d_weight)
        return d_x, _gradient(d_weight, weight), None


def norm(x_ND: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Rows over their root mean square, times the weight: [N, D]."""
    return _Norm.apply(x_ND, weight, epsilon)


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, norm: Tensor, gate_up: Tensor, down: Tensor, epsilon: float) -> Tensor:
        output = torch.empty_like(x_ND)
        gate_up_DI, down_ID = right(gate_up, len(x_ND)), right(down, len(x_ND))

        def run(parts: Sequence[slice]) -> list[Tensor]:
            # One tensor per slice: a large one would come fresh from the operating system each time and be cleared first.
            hidden = []
            for rows in parts:
                x = x_ND[rows]
                hidden.append(torch.mm(steps.norm(x, norm, epsilon), gate_up_DI))
                torch.addmm(x, steps.swiglu(hidden[-1]), down_ID, out=output[rows])
            return hidden

        kept = in_threads(run, slices(x_ND, len(gate_up)))
        ctx.save_for_backward(x_ND, norm, gate_up, down, *chain.from_iterable(kept))
        ctx.epsilon = epsilon
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_ND: Tensor) -> tuple[Tensor | None, ...]:
        x_ND, norm, gate_up, down, *kept = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        d_x = torch.empty_like(x_ND)

        def run(parts: Sequence[tuple[slice, Tensor]]) -> tuple[Tensor | None, ...]:
            d_norm = torch.zeros_like(norm, dtype=torch.float32)
            d_gate_up, d_down = _total(gate_up, wanted[2]), _total(down, wanted[3])
            for rows, hidden in parts:
                x, grad = x_ND[rows], grad_ND[rows]
                active, d_hidden = steps.swiglu_backward(hidden, torch.mm(grad, down))
                add_product(d_down, active.t(), grad)
                add_product(d_gate_up, steps.norm(x, norm, ctx.epsilon).t(), d_hidden)
                steps.norm_backward(torch.mm(d_hidden, gate_up), x, norm, ctx.epsilon, d_x[rows].copy_(grad), d_norm)
            return d_norm, d_gate_up, d_down

        totals = in_threads(run, list(zip(slices(x_ND, len(gate_up)), kept, strict=True)))
        d_norm, d_gate_up, d_down = summed(totals)
        return d_x, _gradient(d_norm, norm), _gradient(d_gate_up, gate_up), _gradient(d_down, down), None


def mlp(x_ND: Tensor, norm: Tensor, gate_up: Tensor, down: Tensor, epsilon: float) -> Tensor:
    """The MLP with its norm and its residual, x + SwiGLU(norm(x)): [N, D].

    Args:
        x_ND: residual stream.
        norm: [D] weight of the norm before.
        gate_up: [2I, D].
        down: [D, I].
        epsilon: of the norm.
    """
    return _Mlp.apply(x_ND, norm, gate_up, down, epsilon)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_ND: Tensor,
        norm: Tensor,
        qkv: Tensor,
        bias: Tensor | None,
        qk_norm: Tensor | None,
        rotation: tuple[Tensor, Tensor],
        epsilon: float,
        sizes: tuple[int, int, int],
    ) -> tuple[Tensor, Tensor, Tensor]:
        num_q, num_k, size = sizes
        cos, sin = rotation
        qkv_DC = right(qkv, len(x_ND))
        raw = x_ND.new_empty(len(x_ND), num_q + 2 * num_k, size)
        turned = x_ND.new_empty(len(x_ND), num_q + num_k, size)

        def run(parts: Sequence[slice]) -> None:
            for rows in parts:
                flat = raw[rows].view(-1, len(qkv))
                torch.mm(steps.norm(x_ND[rows], norm, epsilon), qkv_DC, out=flat)
                if bias is not None:
                    flat += bias
                steps.turn(raw[rows], qk_norm, cos[rows], sin[rows], epsilon, turned[rows])

        in_threads(run, slices(x_ND, len(qkv)))
        ctx.save_for_backward(x_ND, norm, qkv, bias, qk_norm, cos, sin, raw)
        ctx.epsilon = epsilon
        return turned[:, :num_q], turned[:, num_q:], raw[:, num_q + num_k :]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_q: Tensor, grad_k: Tensor, grad_v: Tensor) -> tuple[Tensor | None, ...]:
        x_ND, norm, qkv, bias, qk_norm, cos, sin, raw = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        d_x = torch.zeros_like(x_ND)

        def run(parts: Sequence[slice]) -> tuple[Tensor | None, ...]:
            d_norm, d_bias = torch.zeros_like(norm, dtype=torch.float32), _total(bias)
            d_qk_norm = None if qk_norm is None else torch.zeros_like(qk_norm, dtype=torch.float32)
            d_qkv = _total(qkv, wanted[2])
            for rows in parts:
                x, turned = x_ND[rows], (cos[rows], sin[rows])
                d_raw = steps.turn_backward(grad_q[rows], grad_k[rows], grad_v[rows], raw[rows], qk_norm, *turned, ctx.epsilon, d_qk_norm)
                d_flat = d_raw.view(-1, len(qkv))
                add_product(d_qkv, steps.norm(x, norm, ctx.epsilon).t(), d_flat)
                if d_bias is not None:
                    d_bias += d_flat.sum(0)
                steps.norm_backward(torch.mm(d_flat, qkv), x, norm, ctx.epsilon, d_x[rows], d_norm)
            return d_norm, d_qkv, d_bias, d_qk_norm

        d_norm, d_qkv, d_bias, d_qk_norm = summed(in_threads(run, slices(x_ND, len(qkv))))
        d_qk_norm = None if d_qk_norm is None else d_qk_norm.to(x_ND.dtype)
        return d_x, _gradient(d_norm, norm), _gradient(d_qkv, qkv), _gradient(d_bias, bias), d_qk_norm, None, None, None


def project(
    x_ND: Tensor,
    norm: Tensor,
    qkv: Tensor,
    bias: Tensor | None,
    qk_norm: Tensor | None,
    rotation: tuple[Tensor, Tensor],
    epsilon: float,
    sizes: tuple[int, int, int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [N, H, E], keys and values [N, K, E] of the normed rows; queries and keys normed per head, if the model does, and rotated.

    Args:
        x_ND: residual stream.
        norm: [D] weight of the norm before.
        qkv: [(H + 2K) * E, D].
        bias: of the projection.
        qk_norm: [H + K, E] weights of the norms per head.
        rotation: cosines and signed sines [N, 1, E].
        epsilon: of the norms.
        sizes: H, K, E.
    """
    return _Project.apply(x_ND, norm, qkv, bias, qk_norm, rotation, epsilon, sizes)
