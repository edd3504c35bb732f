"""The elementwise steps of a layer compiled for a processor: norms, rotation and SwiGLU, each in one pass over its rows.

Operation by operation the same steps write every intermediate for the next one to read, which took as long as a third of the matrix
products. They are plain loops over C-contiguous float32 rows; `steps.py` says what each computes, and tests hold both to autograd. Sums may
be reordered. The compiled code is kept on disk, so that only the first run on a machine waits for it.

Shapes: N rows, D hidden size, I intermediate size, H query heads, K key-value heads, E head size.
"""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from spadework.models.compiled import compiled

__all__ = ["norm", "norm_backward", "softmax_parts", "swiglu", "swiglu_backward", "turn", "turn_backward"]

F32: Any = np.float32
LOG2_E = F32(np.log2(np.e))

_compiled = compiled(fastmath={"reassoc", "contract", "arcp", "nsz"})


@intrinsic
def _float_of_bits(typing_context: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@_compiled
def _exp(x: Any) -> Any:
    """Exponential with a relative error of 1e-6, between 2^-126 and 2^126; compilers turn a loop of it into vectors.

    2^y as 2^round(y), put into the exponent's bits, times a polynomial in the rest.
    """
    y = min(max(x * LOG2_E, F32(-126)), F32(126))
    whole = np.floor(y + F32(0.5))
    y -= whole
    p = F32(0.0001535336) * y + F32(0.001339887)
    p = p * y + F32(0.009618437)
    p = p * y + F32(0.05550332)
    p = p * y + F32(0.24022648)
    p = p * y + F32(0.6931472)
    return (p * y + F32(1)) * _float_of_bits((np.int32(whole) + np.int32(127)) << np.int32(23))


@_compiled
def _scale(x: Any, epsilon: float) -> Any:
    """Reciprocal root mean square."""
    total = F32(0)
    for j in range(len(x)):
        total += x[j] * x[j]
    return F32(1) / np.sqrt(total / F32(len(x)) + F32(epsilon))


@_compiled
def norm(x_ND: Any, weight: Any, epsilon: float, out_ND: Any) -> None:
    """Normalised rows times the weight."""
    for n in range(len(x_ND)):
        x, out = x_ND[n], out_ND[n]
        scale = _scale(x, epsilon)
        for j in range(len(x)):
            out[j] = x[j] * scale * weight[j]


@_compiled
def norm_backward(grad_ND: Any, x_ND: Any, weight: Any, epsilon: float, out_ND: Any, d_weight: Any) -> None:
    """Adds the gradients of rows and weight to the last two."""
    for n in range(len(x_ND)):
        grad, x, out = grad_ND[n], x_ND[n], out_ND[n]
        scale, inner = _scale(x, epsilon), F32(0)
        for j in range(len(x)):
            inner += grad[j] * weight[j] * x[j]
        inner *= scale * scale / F32(len(x))
        for j in range(len(x)):
            d_weight[j] += grad[j] * x[j] * scale
            out[j] += scale * (grad[j] * weight[j] - x[j] * inner)


@_compiled
def turn(raw_NAE: Any, weight_AE: Any, normed: bool, cos_NE: Any, sin_NE: Any, epsilon: float, out_NAE: Any) -> None:
    """Norm per head, if `normed`, and rotation."""
    heads, size = out_NAE.shape[1:]
    half = size // 2
    # Scratch can not overlap with an argument, so the compiler need not check for that in every head.
    normal = np.empty((heads, size), np.float32)
    for n in range(len(out_NAE)):
        for a in range(heads):
            scale = _scale(raw_NAE[n, a], epsilon) if normed else F32(1)
            for j in range(size):
                normal[a, j] = raw_NAE[n, a, j] * scale * weight_AE[a, j]
        for a in range(heads):
            for j in range(half):
                out_NAE[n, a, j] = normal[a, j] * cos_NE[n, j] + normal[a, j + half] * sin_NE[n, j]
            for j in range(half):
                out_NAE[n, a, j + half] = normal[a, j + half] * cos_NE[n, j + half] + normal[a, j] * sin_NE[n, j + half]


@_compiled
def turn_backward(
    grad_q: Any, grad_k: Any, grad_v: Any, raw: Any, weight: Any, normed: bool, cos: Any, sin: Any, epsilon: float, out: Any, d_weight: Any
) -> None:
    """Fills the gradient of the raw projections and adds that of the weight."""
    heads, kv_heads, size = grad_q.shape[1], grad_k.shape[1], grad_q.shape[2]
    half = size // 2
    turned = np.empty(size, np.float32)
    for n in range(len(raw)):
        for a in range(heads + kv_heads):
            grad = grad_q[n, a] if a < heads else grad_k[n, a - heads]
            for j in range(half):
                turned[j] = grad[j] * cos[n, j] + grad[j + half] * sin[n, j + half]
                turned[j + half] = grad[j + half] * cos[n, j + half] + grad[j] * sin[n, j]
            if not normed:
                out[n, a] = turned
                continue
            total = inner = F32(0)
            for j in range(size):
                total += raw[n, a, j] * raw[n, a, j]
                inner += turned[j] * weight[a, j] * raw[n, a, j]
            scale = F32(1) / np.sqrt(total / F32(size) + F32(epsilon))
            inner *= scale * scale / F32(size)
            for j in range(size):
                d_weight[a, j] += turned[j] * raw[n, a, j] * scale
                out[n, a, j] = scale * (turned[j] * weight[a, j] - raw[n, a, j] * inner)
        out[n, heads + kv_heads :] = grad_v[n]


@_compiled
def swiglu(hidden: Any, out_NI: Any) -> None:
    """Fills silu(gate) * up; gate and up stand beside each other in `hidden`."""
    width = out_NI.shape[1]
    for n in range(len(hidden)):
        gates, ups, out = hidden[n, :width], hidden[n, width:], out_NI[n]
        for j in range(width):
            out[j] = gates[j] / (F32(1) + _exp(-gates[j])) * ups[j]


@_compiled
def swiglu_backward(hidden: Any, grad_NI: Any, active_NI: Any, d_hidden: Any) -> None:
    """Fills silu(gate) * up and the gradient of gate and up."""
    width = active_NI.shape[1]
    for n in range(len(hidden)):
        gates, ups, d_gates, d_ups = hidden[n, :width], hidden[n, width:], d_hidden[n, :width], d_hidden[n, width:]
        grads, actives = grad_NI[n], active_NI[n]
        for j in range(width):
            gate, up, grad = gates[j], ups[j], grads[j]
            sigmoid = F32(1) / (F32(1) + _exp(-gate))
            silu = gate * sigmoid
            actives[j] = silu * up
            d_ups[j] = grad * silu
            d_gates[j] = grad * up * (sigmoid + silu * (F32(1) - sigmoid))


@_compiled
def softmax_parts(logits_MV: Any, largest_M: Any, totals_M: Any) -> None:
    """Turns logits into exponentials relative to the largest of their row, and fills what these are and add up to."""
    for m in range(len(logits_MV)):
        row = logits_MV[m]
        largest, total = row[0], F32(0)
        for j in range(len(row)):
            largest = max(largest, row[j])
        for j in range(len(row)):
            row[j] = _exp(row[j] - largest)
            total += row[j]
        largest_M[m], totals_M[m] = largest, total
