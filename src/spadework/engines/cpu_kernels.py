"""What sampling does between two matrix products, compiled for the processor: rotation, attention over the cache, the choice of a token.

One new token per sequence is little work per byte: a step reads all cached keys and values once, and every intermediate that an operation
writes for the next one costs as much again. Each function here takes rows of its arrays through all its steps while they are in the
first-level cache, and reads of every cached sequence its own length and no padding, in the order of memory, which processors fetch ahead
of their use; asking for it ahead in the program costs more than it saves. They are functions of float32 arrays that run without the
interpreter's lock, and a row's result does not depend on the others. The compiled code is kept on disk. Norms and SwiGLU are those of
training (`models/cpu_steps.py`).

Shapes: N tokens, H query heads, K key-value heads, E head size, S cache rows, L positions.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from spadework.models.compiled import compiled

__all__ = ["attend", "draw", "place", "softmax"]

F32: Any = np.float32
LOG2_E = math.log2(math.e)
OCTET = 8
"""Positions that are computed together, and floats of a vector: an AVX2 register."""
TILE = 32
"""Elements of a head that are computed together: four registers."""
STREAMS = 4
"""Key-value heads that are read in turns. From several places at once memory delivers up to half as much again as from one: at the start
of each head a processor waits until it has guessed what comes next."""
VECTOR = ir.VectorType(ir.FloatType(), OCTET)
LANES = ir.VectorType(ir.IntType(32), OCTET)

_compiled = compiled(fastmath=True)


def _load(builder: Any, start: Any, element: Any) -> Any:
    """The vector that begins with an element."""
    return builder.load(_vector(builder, start, element), align=4)


def _vector(builder: Any, start: Any, element: Any) -> Any:
    return builder.bitcast(builder.gep(start, [element]), VECTOR.as_pointer())


def _splat(builder: Any, value: Any) -> Any:
    """A vector of one value."""
    lane = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(lane, lane, ir.Constant(LANES, [0] * OCTET))


def _add_product(builder: Any, total: Any, left: Any, right: Any) -> Any:
    """Vector total + left * right, in one operation: for that, sums must stay in the order in which they are written down."""
    return builder.fadd(total, builder.fmul(left, right, flags=("fast",)), flags=("contract", "nnan", "ninf", "nsz"))


def _each_tile(builder: Any, size: Any, step: Callable[[list[Any]], None]) -> None:
    """Call `step` with the starts of the vectors of each tile, then of each vector that is left."""
    i64 = size.type
    tiles, vectors = (builder.sub(size, builder.srem(size, i64(width))) for width in (TILE, OCTET))
    with cgutils.for_range_slice(builder, i64(0), tiles, i64(TILE)) as (e, _):
        step([builder.add(e, i64(offset)) for offset in range(0, TILE, OCTET)])
    with cgutils.for_range_slice(builder, tiles, vectors, i64(OCTET)) as (e, _):
        step([e])


def _rows(builder: Any, first: Any, size: Any, there: list[Any]) -> list[Any]:
    """Addresses of OCTET positions; of the first instead of those that are not there."""
    return [builder.select(known, builder.gep(first, [builder.mul(size.type(i), size)]), first) for i, known in enumerate(there)]


def _score(builder: Any, query: Any, keys: Any, scores: Any, size: Any, there: list[Any]) -> None:
    """scores[i] = sum of query[e] * keys[i, e] for the positions i that are there, of OCTET, without E % OCTET elements.

    The sums of each position stay in a vector; in the end all these vectors are added up together.
    """
    rows = _rows(builder, keys, size, there)
    # On the stack, which the compiler turns into registers.
    sums = [cgutils.alloca_once_value(builder, ir.Constant(VECTOR, [0.0] * OCTET)) for _ in rows]

    def step(starts: list[Any]) -> None:
        for e in starts:
            part = _load(builder, query, e)
            for row, total in zip(rows, sums, strict=True):
                builder.store(_add_product(builder, builder.load(total), part, _load(builder, row, e)), total)

    _each_tile(builder, size, step)
    totals = _added_up(builder, [builder.load(total) for total in sums])
    target, known = _vector(builder, scores, size.type(0)), ir.Constant(ir.VectorType(ir.IntType(1), OCTET), ir.Undefined)
    for i, flag in enumerate(there):
        known = builder.insert_element(known, flag, ir.IntType(32)(i))
    builder.store(builder.select(known, totals, builder.load(target, align=4)), target, align=4)


def _added_up(builder: Any, vectors: list[Any]) -> Any:
    """The sum of each of OCTET vectors, in one vector: neighbours are added, twice, then halves. One by one takes three times as long."""

    def added(left: Any, right: Any, some: list[int], others: list[int]) -> Any:
        return builder.fadd(*(builder.shuffle_vector(left, right, ir.Constant(LANES, part)) for part in (some, others)), flags=("fast",))

    for _ in range(2):
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [added(*pair, [0, 2, 8, 10, 4, 6, 12, 14], [1, 3, 9, 11, 5, 7, 13, 15]) for pair in pairs]
    left, right = vectors
    return added(left, right, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])


def _gather(builder: Any, out: Any, values: Any, weights: Any, size: Any, there: list[Any]) -> None:
    """out[e] += sum of weights[i] * values[i, e] over the positions i that are there, of OCTET, without E % OCTET elements."""
    rows = _rows(builder, values, size, there)
    factors = [
        _splat(builder, builder.select(known, builder.load(builder.gep(weights, [size.type(i)])), ir.FloatType()(0.0)))
        for i, known in enumerate(there)
    ]

    def step(starts: list[Any]) -> None:
        sums = [_load(builder, out, e) for e in starts]
        for row, factor in zip(rows, factors, strict=True):
            sums = [_add_product(builder, total, factor, _load(builder, row, e)) for total, e in zip(sums, starts, strict=True)]
        for total, e in zip(sums, starts, strict=True):
            builder.store(total, _vector(builder, out, e), align=4)

    _each_tile(builder, size, step)


def _function(builder: Any, name: str, arguments: list[Any], body: Callable[..., None]) -> None:
    """Call a body as a function of its own, which is made at the first call: what it computes with gets all registers."""
    made = builder.module.globals.get(name)
    if made is None:
        made = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments]), name)
        made.linkage = "internal"
        made.attributes.add("noinline")
        inner = ir.IRBuilder(made.append_basic_block())
        body(inner, *made.args)
        inner.ret_void()
    builder.call(made, arguments)


def _for_heads(name: str, kernel: Callable[..., None]) -> Any:
    """An operation that hands positions of the key-value heads [k, last) of a token to a kernel: OCTET of its row's own and of the shared.

    Vectors [N, H, E] are queries or outputs, cached [S, K, L, E], weights [H, L]. The positions are those from j on of the shared ones,
    which the origin has, and of those from `shared` to `length`. Both in turns: while the processor waits for a row's own ones from
    memory, it works on the shared ones, which it has near. The loops over heads are a function of their own: within those of their
    caller they would take twice the time, for its addresses and theirs do not fit the registers.
    """

    def some(builder: Any, vector: Any, cached: Any, weights: Any, size: Any, count: Any) -> None:
        kernel(builder, vector, cached, weights, size, [builder.icmp_signed("<", size.type(i), count) for i in range(OCTET)])

    def heads(builder: Any, x: Any, own: Any, shared: Any, own_weights: Any, weights: Any, *numbers: Any) -> None:
        size, stride, room, kv_heads, groups, own_count, shared_count = numbers
        zero, one = size.type(0), size.type(1)
        with (
            cgutils.for_range_slice(builder, zero, kv_heads, one) as (k, _),
            cgutils.for_range_slice(builder, zero, groups, one) as (group, _),
        ):
            head, start = builder.add(builder.mul(k, groups), group), builder.mul(k, stride)
            vector, place = builder.gep(x, [builder.mul(head, size)]), builder.mul(head, room)
            for cached, scores, count in ((own, own_weights, own_count), (shared, weights, shared_count)):
                addresses = vector, builder.gep(cached, [start]), builder.gep(scores, [place])
                with (
                    builder.if_then(builder.icmp_signed(">", count, zero)),
                    builder.if_else(builder.icmp_signed(">=", count, size.type(OCTET))) as (all_there, fewer),
                ):
                    with all_there:
                        kernel(builder, *addresses, size, [ir.IntType(1)(1)] * OCTET)
                    with fewer:
                        _function(builder, f"{name}_some", [*addresses, size, count], some)

    @intrinsic
    def operation(
        typing_context: Any, vectors: Any, cached: Any, weights: Any, token: Any, row: Any, origin: Any, k: Any, last: Any, j: Any,
        shared: Any, length: Any,
    ) -> Any:  # fmt: skip
        if any(array.layout != "C" for array in (vectors, cached, weights)):
            raise TypingError("attention over arrays with gaps")

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            views = [context.make_array(kind)(context, builder, array) for kind, array in zip(signature.args, arguments[:3], strict=False)]
            token, row, origin, k, last, j, shared, length = arguments[3:]
            _, all_heads, size = cgutils.unpack_tuple(builder, views[0].shape)
            _, all_kv_heads, positions, _ = cgutils.unpack_tuple(builder, views[1].shape)
            room = cgutils.unpack_tuple(builder, views[2].shape)[1]
            groups, zero = builder.sdiv(all_heads, all_kv_heads), size.type(0)

            def at(array: int, *indices: Any) -> Any:
                return cgutils.get_item_pointer(context, builder, signature.args[array], views[array], indices, wraparound=False)

            head, own = builder.mul(k, groups), builder.add(shared, j)
            places = at(0, token, head, zero), at(1, row, k, own, zero), at(1, origin, k, j, zero), at(2, head, own), at(2, head, j)
            counts = builder.sub(last, k), groups, builder.sub(length, own), builder.sub(shared, j)
            _function(builder, name, [*places, size, builder.mul(positions, size), room, *counts], heads)
            return context.get_dummy_value()

        return types.void(vectors, cached, weights, *[types.intp] * 8), generate

    return operation


_score_heads = _for_heads("score", _score)
_gather_heads = _for_heads("gather", _gather)


@intrinsic
def _bits(typing_context: Any, value: Any) -> Any:
    """The bits of a float32 as an int32, or the other way round."""
    result = types.int32 if value == types.float32 else types.float32

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return result(value), generate


@_compiled
def _exp(x: Any, factor: float, top: float, count: int) -> float:
    """In place x = exp((x - top) * factor) of the first elements; returns their sum. `top` is at least every x.

    2^y as 2^round(y), put into the exponent's bits, times a polynomial in the rest (relative error 1e-6). In steps that the compiler
    turns into vectors. Not that of another file: numba keeps machine code by source file and would not notice a change there.
    """
    factor, total = F32(factor * LOG2_E), F32(0.0)
    for j in range(count):
        y = max((x[j] - top) * factor, F32(-126.0))
        whole = np.floor(y + F32(0.5))
        y -= whole
        p = F32(0.0001535336) * y + F32(0.001339887)
        p = p * y + F32(0.009618437)
        p = p * y + F32(0.05550332)
        p = p * y + F32(0.24022648)
        p = p * y + F32(0.6931472)
        x[j] = (p * y + F32(1.0)) * _bits(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))
        total += x[j]
    return total


@_compiled
def _largest(x: Any, count: int) -> float:
    """The largest of the first elements, found among their bits as integers: compilers make no vector operation of a maximum of floats.

    Floats are ordered as their bits are, once those of negative ones are turned around.
    """
    top = np.int32(-(1 << 31))
    for j in range(count):
        bits = _bits(x[j])
        top = max(top, np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))))
    return _bits(np.int32(top ^ ((top >> np.int32(31)) & np.int32(0x7FFFFFFF))))


@_compiled
def place(
    raw: Any, qk_norm: Any, normed: bool, epsilon: float, cos_LE: Any, sin_LE: Any, rows_N: Any, positions_N: Any,
    q_NHE: Any, keys_SKLE: Any, values_SKLE: Any,
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
        keys_SKLE: of the cache.
        values_SKLE: of the cache.
    """
    heads, size = q_NHE.shape[1:]
    kv_heads, half = keys_SKLE.shape[1], size // 2
    for i in range(len(q_NHE)):
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
            target = q_NHE[i, head] if head < heads else keys_SKLE[row, head - heads, position]
            for e in range(half):
                low, high = x[e] * scale * weight[e], x[e + half] * scale * weight[e + half]
                target[e] = low * cos[e] + high * sin[e]
                target[e + half] = high * cos[e + half] + low * sin[e + half]
        for head in range(kv_heads):
            target, x = values_SKLE[row, head, position], raw[i, heads + kv_heads + head]
            for e in range(size):
                target[e] = x[e]


@_compiled
def _score_rest(q_HE: Any, shared_KLE: Any, own_KLE: Any, scores_HL: Any, shared: int, length: int) -> None:
    """Add the products of the last E % OCTET elements."""
    heads, size = q_HE.shape
    for head in range(heads):
        k = head * len(own_KLE) // heads
        for e in range(size - size % OCTET, size):
            for j in range(length):
                scores_HL[head, j] += q_HE[head, e] * (shared_KLE if j < shared else own_KLE)[k, j, e]


@_compiled
def _gather_rest(out_HE: Any, shared_KLE: Any, own_KLE: Any, weights_HL: Any, shared: int, length: int) -> None:
    """Add the weighted values of the last E % OCTET elements."""
    heads, size = out_HE.shape
    for head in range(heads):
        k = head * len(own_KLE) // heads
        for e in range(size - size % OCTET, size):
            for j in range(length):
                out_HE[head, e] += weights_HL[head, j] * (shared_KLE if j < shared else own_KLE)[k, j, e]


@_compiled
def attend(
    q_NHE: Any, keys_SKLE: Any, values_SKLE: Any, rows_N: Any, origins_N: Any, shared_N: Any, lengths_N: Any, out_NHE: Any,
) -> None:  # fmt: skip
    """Attention of one token per sequence over its row of the cache.

    Args:
        q_NHE: queries.
        keys_SKLE: of the cache.
        values_SKLE: of the cache.
        rows_N: rows of the cache.
        origins_N: rows that hold the same first positions. Siblings read one copy, which is in the cache of the processor then.
        shared_N: how many those are.
        lengths_N: positions to attend to.
        out_NHE: to be filled.
    """
    heads, size = q_NHE.shape[1:]
    kv_heads, room = keys_SKLE.shape[1:3]
    scores, totals = np.empty((heads, room + OCTET), np.float32), np.empty(heads, np.float32)
    for i in range(len(q_NHE)):
        row, origin, shared, length = rows_N[i], origins_N[i], shared_N[i], lengths_N[i]
        longer = max(shared, length - shared)
        for k in range(0, kv_heads, STREAMS):
            for j in range(0, longer, OCTET):
                _score_heads(q_NHE, keys_SKLE, scores, i, row, origin, k, min(k + STREAMS, kv_heads), j, shared, length)
        if size % OCTET:
            _score_rest(q_NHE[i], keys_SKLE[origin], keys_SKLE[row], scores, shared, length)
        for head in range(heads):
            totals[head] = _exp(scores[head], 1.0 / math.sqrt(size), _largest(scores[head], length), length)
            for e in range(size):
                out_NHE[i, head, e] = 0.0
        for k in range(0, kv_heads, STREAMS):
            for j in range(0, longer, OCTET):
                _gather_heads(out_NHE, values_SKLE, scores, i, row, origin, k, min(k + STREAMS, kv_heads), j, shared, length)
        if size % OCTET:
            _gather_rest(out_NHE[i], values_SKLE[origin], values_SKLE[row], scores, shared, length)
        for head in range(heads):
            factor = F32(1.0) / totals[head]
            for e in range(size):
                out_NHE[i, head, e] *= factor


@_compiled
def softmax(scores: Any, width: int, start: int, factor: float) -> None:
    """Causal softmax in place of scores [rows, L], where every `width` rows are the tokens at positions start, start + 1, ...

    Args:
        scores: products of queries and keys.
        width: number of tokens.
        start: position of the first.
        factor: of the scores.
    """
    for i in range(len(scores)):
        length = start + i % width + 1
        total = _exp(scores[i], factor, _largest(scores[i], length), length)
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
    weights, blocks = np.empty(vocabulary, np.float32), np.empty((vocabulary + 63) // 64, np.float64)
    for i in range(rows):
        x = logits_BV[i]
        factor = 1.0 / temperatures[i] if temperatures[i] > 0.0 else 1.0
        top = _largest(x, vocabulary)
        weights[:] = x
        _exp(weights, factor, top, vocabulary)
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
