"""The elementwise steps of a layer compiled for a processor: norms, rotation and SwiGLU, each in one pass over its rows.

Operation by operation the same steps write every intermediate for the next one to read, which took as long as a third of the matrix
products. They are plain loops over C-contiguous float32 rows; `steps.py` says what each computes, and tests hold both to autograd. Sums may
be reordered. The compiled code is kept on disk, so that only the first run on a machine waits for it.

Shapes: N rows, D hidden size, I intermediate size, H query heads, K key-value heads, E head size.
"""

from typing import Any

import numpy as np

from spadework.models.compiled import compiled

__all__ = ["norm", "norm_backward", "swiglu_backward", "turn", "turn_backward"]

F32: Any = np.float32

_compiled = compiled(fastmath={"reassoc", "contract", "arcp", "nsz"})


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
    heads, half = out_NAE.shape[1], out_NAE.shape[2] // 2
    for n in range(len(out_NAE)):
        cos, sin = cos_NE[n], sin_NE[n]
        for a in range(heads):
            x, weight, out = raw_NAE[n, a], weight_AE[a], out_NAE[n, a]
            scale = _scale(x, epsilon) if normed else F32(1)
            for j in range(half):
                first, second = x[j] * scale * weight[j], x[j + half] * scale * weight[j + half]
                out[j] = first * cos[j] + second * sin[j]
                out[j + half] = second * cos[j + half] + first * sin[j + half]


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
def swiglu_backward(hidden: Any, sigmoid_NI: Any, grad_NI: Any, active_NI: Any, d_hidden: Any) -> None:
    """Fills the product silu(gate) * up and the gradient of gate and up, which stand beside each other in `hidden`."""
    width = sigmoid_NI.shape[1]
    for n in range(len(hidden)):
        gates, ups, d_gates, d_ups = hidden[n, :width], hidden[n, width:], d_hidden[n, :width], d_hidden[n, width:]
        sigmoids, grads, actives = sigmoid_NI[n], grad_NI[n], active_NI[n]
        for j in range(width):
            gate, up, sigmoid, grad = gates[j], ups[j], sigmoids[j], grads[j]
            silu = gate * sigmoid
            actives[j] = silu * up
            d_ups[j] = grad * silu
            d_gates[j] = grad * up * (sigmoid + silu * (F32(1) - sigmoid))
