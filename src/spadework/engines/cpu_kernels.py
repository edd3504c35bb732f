"""What a decoder does between two matrix products, compiled for the processor: norms, rotation, attention over the cache, sampling.

One new token per sequence is little work per byte: a step reads all cached keys and values once, and every intermediate that an operation
writes for the next one costs as much again. Each function here takes rows of its arrays through all its steps while they are in the
first-level cache, reads of every cached sequence its own length and no padding, and asks for keys ahead of their use. They are functions
of float32 arrays that fill the rows [first, last) of their last array, without the interpreter's lock, so that threads can share the
rows; a row's result does not depend on the others or on how they are shared out. The compiled code is kept on disk.

Shapes: N tokens, D hidden size, I intermediate size, H query heads, K key-value heads, E head size, S cache rows, L positions.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from spadework.models.compiled import compiled

__all__ = ["attend", "draw", "norm", "place", "softmax", "swiglu"]

F32: Any = np.float32
LOG2_E = math.log2(math.e)
LANES = 16
"""Elements of a vector: a cache line."""
BLOCK = 16
"""Positions that are read for one head after the other, while the next are on their way from memory."""

_compiled = compiled(fastmath=True)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, indices: Sequence[Any], target: ir.Type) -> Any:
    """Address of an element, as that of a value of another type."""
    view = context.make_array(kind)(context, builder, array)
    return builder.bitcast(cgutils.get_item_pointer(context, builder, kind, view, indices, wraparound=False), target.as_pointer())


@intrinsic
def _prefetch(typing_context: Any, array: Any, position: Any, head: Any, element: Any) -> Any:
    """Ask for the cache line of array[position, head, element]; any address may be asked for."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _pointer(context, builder, signature.args[0], arguments[0], arguments[1:], ir.IntType(8))
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, i32, i32, i32])
        # Arguments: for reading, to be kept in all caches, data.
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0"), [address, i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(array, *[types.intp] * 3), generate


@intrinsic
def _add_weighted(
    typing_context: Any, out: Any, weights: Any, values: Any, head: Any, kv_head: Any, element: Any, first: Any, last: Any
) -> Any:
    """out[head, e] += sum of weights[head, j] * values[j, kv_head, e] over positions j, for LANES elements e from `element` on.

    As vector instructions, with four sums in registers, which takes half the time of the loops that a compiler makes of the same.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, weights, values, head, kv_head, element, first, last = arguments
        kinds, i32, i64 = signature.args, ir.IntType(32), first.type
        vector = ir.VectorType(ir.FloatType(), LANES)
        undefined = ir.Constant(vector, ir.Undefined)
        everywhere = ir.Constant(ir.VectorType(i32, LANES), [0] * LANES)
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * LANES)) for _ in range(4)]

        def add(left: Any, right: Any) -> Any:
            return builder.fadd(left, right, flags=("fast",))

        def step(j: Any, total: Any) -> None:
            weight = builder.load(_pointer(context, builder, kinds[1], weights, [head, j], ir.FloatType()))
            weight = builder.shuffle_vector(builder.insert_element(undefined, weight, i32(0)), undefined, everywhere)
            value = builder.load(_pointer(context, builder, kinds[2], values, [j, kv_head, element], vector), align=4)
            builder.store(add(builder.load(total), builder.fmul(weight, value, flags=("fast",))), total)

        middle = builder.sub(last, builder.srem(builder.sub(last, first), i64(4)))
        with cgutils.for_range_slice(builder, first, middle, i64(4)) as (j, _):
            for offset, total in enumerate(sums):
                step(builder.add(j, i64(offset)), total)
        with cgutils.for_range_slice(builder, middle, last, i64(1)) as (j, _):
            step(j, sums[0])
        target = _pointer(context, builder, kinds[0], out, [head, element], vector)
        result = builder.load(target, align=4)
        for total in sums:
            result = add(result, builder.load(total))
        builder.store(result, target, align=4)
        return context.get_dummy_value()

    return types.void(out, weights, values, *[types.intp] * 5), generate


@_compiled
def _exp(x: Any, powers: Any, factor: float, top: float, count: int) -> float:
    """In place x = exp((x - top) * factor) of the first elements; returns their sum. `top` is at least every x.

    2^y as 2^round(y), put into the exponent's bits, times a polynomial in the rest (relative error 1e-6). In steps that the compiler
    turns into vectors; `powers` is int32 scratch.
    """
    factor = F32(factor * LOG2_E)
    for j in range(count):
        y = max((x[j] - top) * factor, F32(-126.0))
        whole = np.floor(y + F32(0.5))
        y -= whole
        powers[j] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        p = F32(0.0001535336) * y + F32(0.001339887)
        p = p * y + F32(0.009618437)
        p = p * y + F32(0.05550332)
        p = p * y + F32(0.24022648)
        p = p * y + F32(0.6931472)
        x[j] = p * y + F32(1.0)
    scale = powers.view(np.float32)
    total = F32(0.0)
    for j in range(count):
        x[j] *= scale[j]
        total += x[j]
    return total


@_compiled
def _largest(x: Any, scratch: Any, count: int) -> float:
    """The largest of the first elements, found among their bits as integers: compilers make no vector operation of a maximum of floats.

    Floats are ordered as their bits are, once those of negative ones are turned around. `scratch` is int32, for one element.
    """
    bits, top = x.view(np.int32), np.int32(-(1 << 31))
    for j in range(count):
        top = max(top, np.int32(bits[j] ^ ((bits[j] >> np.int32(31)) & np.int32(0x7FFFFFFF))))
    scratch[0] = top ^ ((top >> np.int32(31)) & np.int32(0x7FFFFFFF))
    return scratch.view(np.float32)[0]


@_compiled
def norm(x_ND: Any, weight: Any, epsilon: float, out_ND: Any, first: int, last: int) -> None:
    """RMS norm."""
    width = x_ND.shape[1]
    for i in range(first, last):
        total = F32(0.0)
        for j in range(width):
            total += x_ND[i, j] * x_ND[i, j]
        scale = F32(1.0 / math.sqrt(total / width + epsilon))
        for j in range(width):
            out_ND[i, j] = x_ND[i, j] * scale * weight[j]


@_compiled
def swiglu(gate_up: Any, out_NI: Any, first: int, last: int) -> None:
    """silu(gate) * up of [N, 2I]."""
    width = out_NI.shape[1]
    negative, powers = np.empty(width, np.float32), np.empty(width, np.int32)
    for i in range(first, last):
        for j in range(width):
            # Beyond 80 the result is 0 or the gate itself in float32, and the exponential stays finite.
            negative[j] = min(max(-gate_up[i, j], F32(-80.0)), F32(80.0))
        _exp(negative, powers, 1.0, F32(0.0), width)
        for j in range(width):
            out_NI[i, j] = gate_up[i, j] / (F32(1.0) + negative[j]) * gate_up[i, width + j]


@_compiled
def place(
    raw: Any, qk_norm: Any, normed: bool, epsilon: float, cos_LE: Any, sin_LE: Any, rows_N: Any, positions_N: Any,
    q_NHE: Any, keys_SLKE: Any, values_SLKE: Any, first: int, last: int,
) -> None:  # fmt: skip
    """Norm queries and keys per head, if the model does, rotate them, and put keys and values into the cache.

    Args:
        raw: projections [N, H + 2K, E].
        qk_norm: [H + K, E] weights of the norms; ones without norms.
        normed: whether the model has these norms.
        epsilon: of the norms.
        cos_LE: of every position.
        sin_LE: with the first half negated.
        rows_N: rows of the cache.
        positions_N: where the tokens stand in them.
        q_NHE: queries, to be filled.
        keys_SLKE: of the cache.
        values_SLKE: of the cache.
        first: token.
        last: token, exclusive.
    """
    heads, size = q_NHE.shape[1:]
    kv_heads, half = keys_SLKE.shape[2], size // 2
    for i in range(first, last):
        row, position = rows_N[i], positions_N[i]
        cos, sin = cos_LE[position], sin_LE[position]
        for head in range(heads + kv_heads):
            x, weight = raw[i, head], qk_norm[head]
            scale = F32(1.0)
            if normed:
                total = F32(0.0)
                for e in range(size):
                    total += x[e] * x[e]
                scale = F32(1.0 / math.sqrt(total / size + epsilon))
            target = q_NHE[i, head] if head < heads else keys_SLKE[row, position, head - heads]
            for e in range(half):
                low, high = x[e] * scale * weight[e], x[e + half] * scale * weight[e + half]
                target[e] = low * cos[e] + high * sin[e]
                target[e + half] = high * cos[e + half] + low * sin[e + half]
        for head in range(kv_heads):
            target, x = values_SLKE[row, position, head], raw[i, heads + kv_heads + head]
            for e in range(size):
                target[e] = x[e]


@_compiled
def _ask(cached_LKE: Any, k: int, start: int, end: int) -> None:
    """Ask for one head of the block after this one."""
    for e in range(0, cached_LKE.shape[2], LANES):
        for j in range(start, end):
            _prefetch(cached_LKE, j + BLOCK, k, e)


@_compiled
def _score(q_HE: Any, keys_LKE: Any, scores_HL: Any, first: int, last: int) -> None:
    """Products of the queries with the keys of some positions, a block of positions at a time, which stays in the cache for all heads."""
    kv_heads, size = keys_LKE.shape[1:]
    groups = len(q_HE) // kv_heads
    for start in range(first, last, BLOCK):
        end = min(start + BLOCK, last)
        for k in range(kv_heads):
            _ask(keys_LKE, k, start, end)
            for head in range(k * groups, (k + 1) * groups):
                for j in range(start, end):
                    product = F32(0.0)
                    for e in range(size):
                        product += q_HE[head, e] * keys_LKE[j, k, e]
                    scores_HL[head, j] = product


@_compiled
def _gather(weights_HL: Any, values_LKE: Any, out_HE: Any, first: int, last: int) -> None:
    """Add the weighted values of some positions, in blocks too."""
    kv_heads, size = values_LKE.shape[1:]
    groups, vectors = len(out_HE) // kv_heads, size - size % LANES
    for start in range(first, last, BLOCK):
        end = min(start + BLOCK, last)
        for k in range(kv_heads):
            _ask(values_LKE, k, start, end)
            for head in range(k * groups, (k + 1) * groups):
                for e in range(0, vectors, LANES):
                    _add_weighted(out_HE, weights_HL, values_LKE, head, k, e, start, end)
                for e in range(vectors, size):
                    for j in range(start, end):
                        out_HE[head, e] += weights_HL[head, j] * values_LKE[j, k, e]


@_compiled
def attend(
    q_NHE: Any, keys_SLKE: Any, values_SLKE: Any, rows_N: Any, origins_N: Any, shared_N: Any, lengths_N: Any, out_NHE: Any,
    first: int, last: int,
) -> None:  # fmt: skip
    """Attention of one token per sequence over its row of the cache.

    Args:
        q_NHE: queries.
        keys_SLKE: of the cache.
        values_SLKE: of the cache.
        rows_N: rows of the cache.
        origins_N: rows that hold the same first positions. Siblings read one copy, which is in the cache of the processor then.
        shared_N: how many those are.
        lengths_N: positions to attend to.
        out_NHE: to be filled.
        first: token.
        last: token, exclusive.
    """
    heads, size = q_NHE.shape[1:]
    room = keys_SLKE.shape[1]
    scores, powers = np.empty((heads, room), np.float32), np.empty(room, np.int32)
    for i in range(first, last):
        row, origin, shared, length = rows_N[i], origins_N[i], shared_N[i], lengths_N[i]
        _score(q_NHE[i], keys_SLKE[origin], scores, 0, shared)
        _score(q_NHE[i], keys_SLKE[row], scores, shared, length)
        for head in range(heads):
            weights = scores[head]
            total = _exp(weights, powers, 1.0 / math.sqrt(size), _largest(weights, powers, length), length)
            for j in range(length):
                weights[j] /= total
        out_NHE[i] = 0.0
        _gather(scores, values_SLKE[origin], out_NHE[i], 0, shared)
        _gather(scores, values_SLKE[row], out_NHE[i], shared, length)


@_compiled
def softmax(scores: Any, width: int, start: int, factor: float, first: int, last: int) -> None:
    """Causal softmax in place of scores [rows, L], where every `width` rows are the tokens at positions start, start + 1, ...

    Args:
        scores: products of queries and keys.
        width: number of tokens.
        start: position of the first.
        factor: of the scores.
        first: row.
        last: row, exclusive.
    """
    room = scores.shape[1]
    powers = np.empty(room, np.int32)
    for i in range(first, last):
        length = start + i % width + 1
        total = _exp(scores[i], powers, factor, _largest(scores[i], powers, length), length)
        for j in range(length):
            scores[i, j] /= total
        scores[i, length:] = 0.0


@_compiled
def draw(logits_BV: Any, temperatures: Any, uniforms: Any, tokens: Any, logprobs: Any, entropies: Any) -> None:
    """Draw a token per row; see `sampling.sample`.

    Args:
        logits_BV: scores.
        temperatures: [B]; 0 takes the best token.
        uniforms: [B] float64 in [0, 1).
        tokens: [B] int64, to be filled.
        logprobs: [B] of the tokens, to be filled.
        entropies: [B] of the distributions, to be filled.
    """
    rows, vocabulary = logits_BV.shape
    weights, powers = np.empty(vocabulary, np.float32), np.empty(vocabulary, np.int32)
    blocks = np.empty((vocabulary + 63) // 64, np.float64)
    for i in range(rows):
        x = logits_BV[i]
        factor = 1.0 / temperatures[i] if temperatures[i] > 0.0 else 1.0
        top = _largest(x, powers, vocabulary)
        weights[:] = x
        _exp(weights, powers, factor, top, vocabulary)
        total, moment = 0.0, 0.0
        for b in range(len(blocks)):
            part, product = F32(0.0), F32(0.0)
            for j in range(b * 64, min(b * 64 + 64, vocabulary)):
                part += weights[j]
                product += weights[j] * (x[j] - top)
            blocks[b] = part
            total += part
            moment += product
        token = 0
        if temperatures[i] > 0.0:
            # The block in which the cumulative sum passes the target, then the token in it.
            target, b = uniforms[i] * total, 0
            while b < len(blocks) - 1 and target >= blocks[b]:
                target -= blocks[b]
                b += 1
            for j in range(b * 64, min(b * 64 + 64, vocabulary)):
                # If rounding leaves a rest at the block's end, the last token that may be drawn takes it.
                token = j if weights[j] > 0.0 else token
                target -= weights[j]
                if target < 0.0:
                    break
        else:
            while token < vocabulary - 1 and x[token] != top:
                token += 1
        tokens[i] = token
        logprobs[i] = (x[token] - top) * factor - math.log(total)
        entropies[i] = math.log(total) - moment * factor / total
