"""The elementwise steps of a layer, forwards and backwards: the norm, the rotation with its norms per head, and SwiGLU; and of a softmax.

Each is a formula in torch operations; on a CPU in float32 a compiled loop computes the same in one pass (`cpu_steps.py`). The backward
steps get what went into the forward step and compute its intermediates again. Gradients of weights are added to totals in float32.

Shapes: N rows, D hidden size, I intermediate size, H query heads, K key-value heads, E head size.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spadework.models import cpu_steps

__all__ = ["norm", "norm_backward", "softmax_parts", "swiglu", "swiglu_backward", "turn", "turn_backward"]


def _is_compiled(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]


def _norm_parts(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The normalised values and the reciprocal root mean square, in float32."""
    x = x.float()
    scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
    return x * scale, scale


def _norm_backward(grad: Tensor, x: Tensor, weight: Tensor, epsilon: float, d_weight: Tensor) -> Tensor:
    """Gradient of x: scale * (g - normal * mean(g * normal)) where g = grad * weight."""
    normal, scale = _norm_parts(x, epsilon)
    grad = grad.float()
    d_weight += (grad * normal).sum(0)
    grad = grad * weight
    inner = (grad * normal).mean(-1, keepdim=True)
    return grad.addcmul_(normal, inner, value=-1).mul_(scale)


def _rotate_half(x: Tensor) -> Tensor:
    return x.roll(x.shape[-1] // 2, -1)


def norm(x_ND: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Rows over their root mean square, times the weight: [N, D]."""
    if not _is_compiled(x_ND):
        return F.rms_norm(x_ND, weight.shape, weight, epsilon)
    out = torch.empty_like(x_ND)
    x, factors, result = _arrays(x_ND, weight, out)
    cpu_steps.norm(x, factors, epsilon, result)
    return out


def norm_backward(grad_ND: Tensor, x_ND: Tensor, weight: Tensor, epsilon: float, out_ND: Tensor, d_weight: Tensor) -> None:
    """Add the gradient of the rows to `out_ND` and that of the weight to `d_weight`."""
    if _is_compiled(x_ND):
        grad, x, factors, out, total = _arrays(grad_ND, x_ND, weight, out_ND, d_weight)
        cpu_steps.norm_backward(grad, x, factors, epsilon, out, total)
    else:
        out_ND += _norm_backward(grad_ND, x_ND, weight, epsilon, d_weight)


def turn(raw: Tensor, qk_norm: Tensor | None, cos: Tensor, sin: Tensor, epsilon: float, out: Tensor) -> None:
    """Write the queries and keys, normed per head, if the model does, and rotated.

    Args:
        raw: [N, H + 2K, E] queries, keys and values.
        qk_norm: [H + K, E] weights of the norms per head.
        cos: [N, 1, E].
        sin: [N, 1, E] signed.
        epsilon: of the norms.
        out: [N, H + K, E].
    """
    if _is_compiled(raw):
        weight = torch.ones(out.shape[1:]) if qk_norm is None else qk_norm
        x, factors, cosines, sines, result = _arrays(raw, weight, cos[:, 0], sin[:, 0], out)
        cpu_steps.turn(x, factors, qk_norm is not None, cosines, sines, epsilon, result)
        return
    qk = raw[:, : out.shape[1]]
    if qk_norm is not None:
        qk = F.rms_norm(qk, qk.shape[2:], None, epsilon).mul_(qk_norm)
    torch.addcmul(qk * cos, _rotate_half(qk), sin, out=out)


def turn_backward(
    grad_q: Tensor,
    grad_k: Tensor,
    grad_v: Tensor,
    raw: Tensor,
    qk_norm: Tensor | None,
    cos: Tensor,
    sin: Tensor,
    epsilon: float,
    d_qk_norm: Tensor | None,
) -> Tensor:
    """Gradient [N, H + 2K, E] of the raw projections, from those of queries, keys and values; adds that of the norms' weights."""
    d_raw = torch.empty_like(raw)
    if _is_compiled(raw):
        none = raw.new_empty(0, raw.shape[2])
        weights = (none, none) if qk_norm is None or d_qk_norm is None else (qk_norm, d_qk_norm)
        *inputs, factors, total, cosines, sines, out = _arrays(grad_q, grad_k, grad_v, raw, *weights, cos[:, 0], sin[:, 0], d_raw)
        cpu_steps.turn_backward(*inputs, factors, qk_norm is not None, cosines, sines, epsilon, out, total)
        return d_raw
    num_qk = grad_q.shape[1] + grad_k.shape[1]
    d_raw[:, num_qk:] = grad_v
    grad = torch.cat([grad_q, grad_k], 1)
    turned = _rotate_half(grad * sin).addcmul_(grad, cos)
    if qk_norm is not None and d_qk_norm is not None:
        turned = _norm_backward(turned, raw[:, :num_qk], qk_norm, epsilon, d_qk_norm)
    d_raw[:, :num_qk] = turned
    return d_raw


def swiglu(hidden: Tensor) -> Tensor:
    """silu(gate) * up, [N, I]; gate and up stand beside each other in `hidden` [N, 2I]."""
    gate, up = hidden.chunk(2, -1)
    if not _is_compiled(hidden):
        return F.silu(gate).mul_(up)
    out = torch.empty_like(up, memory_format=torch.contiguous_format)
    cpu_steps.swiglu(*_arrays(hidden, out))
    return out


def swiglu_backward(hidden: Tensor, grad_NI: Tensor) -> tuple[Tensor, Tensor]:
    """silu(gate) * up, computed again, and the gradient of `hidden`."""
    d_hidden = torch.empty_like(hidden)
    if _is_compiled(hidden):
        active = torch.empty_like(grad_NI)
        cpu_steps.swiglu_backward(*_arrays(hidden, grad_NI, active, d_hidden))
        return active, d_hidden
    gate, up = hidden.chunk(2, -1)
    d_gate, d_up = d_hidden.chunk(2, -1)
    active = F.silu(gate)
    torch.mul(grad_NI, active, out=d_up)
    torch.ops.aten.silu_backward.grad_input(grad_NI * up, gate, grad_input=d_gate)
    return active.mul_(up), d_hidden


def softmax_parts(logits_MV: Tensor, largest_M: Tensor, totals_M: Tensor) -> Tensor:
    """exp(logit - largest of the row), in place of the logits, which are float32; `largest_M` and the sums `totals_M` are filled."""
    if _is_compiled(logits_MV):
        cpu_steps.softmax_parts(*_arrays(logits_MV, largest_M, totals_M))
        return logits_MV
    torch.amax(logits_MV, 1, out=largest_M)
    exponentials = logits_MV.sub_(largest_M[:, None]).exp_()
    torch.sum(exponentials, 1, out=totals_M)
    return exponentials
