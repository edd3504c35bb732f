"""The two halves of a decoder layer as single differentiable functions, computed in slices of rows that fit the cache.

Between two matrix products a layer is a dozen elementwise steps (`steps.py`): norms, rotation, SwiGLU. One operation at a time over a whole
pack, each reads and writes main memory. Here every slice passes through all steps while it is in the processor's cache, and the backward
pass is written out by hand, so that intermediates are computed again from the few that are kept. The gradients equal those of autograd; a
test compares them.

On a GPU there is one slice. Gradients of matrices are summed over the slices in float32. Not done here: second derivatives.
Shapes: N rows, D hidden size, I intermediate size, H query heads, K key-value heads, E head size.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from spadework.models import steps

__all__ = ["add_product", "mlp", "project", "right", "slices"]

SLICE_ELEMENTS = 1 << 17
"""Elements of the widest intermediate of a slice: half a megabyte in float32, a part of a core's second-level cache. With up to about 190
rows MKL multiplies by a contiguous matrix as it lies, without packing it first, a tenth faster."""


def slices(x: Tensor, width: int) -> Iterator[slice]:
    """Slices of rows whose widest intermediate stays in the cache; at least 128 rows, so that matrix products stay efficient."""
    rows = max(128, SLICE_ELEMENTS // width) if x.device.type == "cpu" else max(1, len(x))
    return (slice(start, min(start + rows, len(x))) for start in range(0, len(x), rows))


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


def _total(parameter: Tensor | None, wanted: bool = True) -> Tensor | None:
    """Zeros for the gradient of a vector, or for that of a matrix [out, in] as [in, out]: products are faster that way round."""
    return parameter.new_zeros(parameter.shape[::-1], dtype=torch.float32) if parameter is not None and wanted else None


def _gradient(total: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    return total.t().to(parameter.dtype) if total is not None and parameter is not None else None


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, norm: Tensor, gate_up: Tensor, down: Tensor, epsilon: float) -> Tensor:
        # One tensor per slice: a large one would come fresh from the operating system each time and be cleared first.
        hidden = []
        output = torch.empty_like(x_ND)
        gate_up_DI, down_ID = right(gate_up, len(x_ND)), right(down, len(x_ND))
        for rows in slices(x_ND, len(gate_up)):
            x = x_ND[rows]
            hidden.append(torch.mm(steps.norm(x, norm, epsilon), gate_up_DI))
            gate, up = hidden[-1].chunk(2, -1)
            torch.addmm(x, F.silu(gate).mul_(up), down_ID, out=output[rows])
        ctx.save_for_backward(x_ND, norm, gate_up, down, *hidden)
        ctx.epsilon = epsilon
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_ND: Tensor) -> tuple[Tensor | None, ...]:
        x_ND, norm, gate_up, down, *kept = ctx.saved_tensors
        d_norm = torch.zeros_like(norm, dtype=torch.float32)
        d_gate_up, d_down = _total(gate_up, ctx.needs_input_grad[2]), _total(down, ctx.needs_input_grad[3])
        d_x = torch.empty_like(x_ND)
        for rows, hidden in zip(slices(x_ND, len(gate_up)), kept, strict=True):
            x, grad = x_ND[rows], grad_ND[rows]
            active, d_hidden = steps.swiglu_backward(hidden, torch.mm(grad, down))
            add_product(d_down, active.t(), grad)
            add_product(d_gate_up, steps.norm(x, norm, ctx.epsilon).t(), d_hidden)
            steps.norm_backward(torch.mm(d_hidden, gate_up), x, norm, ctx.epsilon, d_x[rows].copy_(grad), d_norm)
        return d_x, d_norm.to(norm.dtype), _gradient(d_gate_up, gate_up), _gradient(d_down, down), None


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
        for rows in slices(x_ND, len(qkv)):
            flat = raw[rows].view(-1, len(qkv))
            torch.mm(steps.norm(x_ND[rows], norm, epsilon), qkv_DC, out=flat)
            if bias is not None:
                flat += bias
            steps.turn(raw[rows], qk_norm, cos[rows], sin[rows], epsilon, turned[rows])
        ctx.save_for_backward(x_ND, norm, qkv, bias, qk_norm, cos, sin, raw)
        ctx.epsilon = epsilon
        return turned[:, :num_q], turned[:, num_q:], raw[:, num_q + num_k :]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_q: Tensor, grad_k: Tensor, grad_v: Tensor) -> tuple[Tensor | None, ...]:
        x_ND, norm, qkv, bias, qk_norm, cos, sin, raw = ctx.saved_tensors
        d_norm, d_bias = torch.zeros_like(norm, dtype=torch.float32), _total(bias)
        d_qk_norm = None if qk_norm is None else torch.zeros_like(qk_norm, dtype=torch.float32)
        d_qkv = _total(qkv, ctx.needs_input_grad[2])
        d_x = torch.empty_like(x_ND)
        for rows in slices(x_ND, len(qkv)):
            x, turned = x_ND[rows], (cos[rows], sin[rows])
            d_raw = steps.turn_backward(grad_q[rows], grad_k[rows], grad_v[rows], raw[rows], qk_norm, *turned, ctx.epsilon, d_qk_norm)
            d_flat = d_raw.view(-1, len(qkv))
            add_product(d_qkv, steps.norm(x, norm, ctx.epsilon).t(), d_flat)
            if d_bias is not None:
                d_bias += d_flat.sum(0)
            steps.norm_backward(torch.mm(d_flat, qkv), x, norm, ctx.epsilon, d_x[rows].zero_(), d_norm)
        d_qk_norm = None if d_qk_norm is None else d_qk_norm.to(x_ND.dtype)
        return d_x, d_norm.to(norm.dtype), _gradient(d_qkv, qkv), _gradient(d_bias, bias), d_qk_norm, None, None, None


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
