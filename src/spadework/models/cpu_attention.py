"""Attention over the blocks of a packed forest, forwards and backwards, compiled for the processor.

The rows of a block share a prefix and attend to it and to their own past. As in FlashAttention (Dao et al., arXiv 2205.14135) the scores of
a few queries exist at a time and stay in the cache between their products, and the backward pass computes the weights again from the saved
sums. In torch's operation the prefix would have to be copied for every row and a mask given, and what the mask hides would be computed
too; here nothing above the diagonal is, but for the rest of a vector. All products are made by one routine that keeps ROWS x LANES sums in
registers. Left out: head sizes that are no multiple of LANES, types other than float32.

A unit of work is a range of key-value heads of one block, and fills places of its own, so that threads can share the units; a result does
not depend on how. Scores are in units of ln 2, so that their exponentials are powers of two.
Shapes: P places of the layout, H query heads, K key-value heads, E head size, T queries and L = prefix + T keys of a row, J places of all
prefixes. Tensors come as views: a flat array and the strides of places and heads.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from spadework.models.compiled import compiled

__all__ = ["LANES", "backward", "forward"]

F32: Any = np.float32
LOG2_E = math.log2(math.e)
LANES = 16
"""Floats of a vector: a cache line. Where vectors are shorter a step is several instructions."""
ROWS = 6
"""Rows of a product that are summed in registers: with two registers to a vector, twelve of the sixteen that AVX2 has."""
SQUARE = 8
"""Rows and columns that are transposed in registers."""
TILE = 48
"""Queries whose scores are kept at a time; a multiple of ROWS."""
KEYS = 192
"""Keys for which they are kept; a multiple of ROWS and LANES."""
WIDTH = KEYS + LANES
"""Between the rows of the scores: an odd number of cache lines, so that they spread over the first-level cache."""
LOWEST = F32(-1e30)
"""Less than any score; infinity would become NaN in a difference."""
POLYNOMIAL = (0.0001535336, 0.001339887, 0.009618437, 0.05550332, 0.24022648, 0.6931472, 1.0)
"""Of 2^x for |x| <= 1/2, highest power first."""

# Without the flags for NaN and infinity: a score that is no number must not vanish in a comparison.
_compiled = compiled(fastmath={"reassoc", "contract", "arcp", "nsz"})


# The vector instructions stand here, not in a module of their own: numba keeps machine code by the source file of the function that calls
# them, and would not notice that another file has changed.


def _vectors(count: int) -> ir.Type:
    return ir.VectorType(ir.FloatType(), count)


def _all(value: float, vector: ir.Type) -> Any:
    return ir.Constant(vector, [value] * vector.count)


def _spread(builder: Any, value: Any) -> Any:
    """A vector of one value."""
    vector, i32 = ir.VectorType(value.type, LANES), ir.IntType(32)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, i32(0))
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), _all(0, ir.VectorType(i32, LANES)))


def _fold(builder: Any, value: Any, combine: Any) -> Any:
    """One number from a vector: halves are combined until it is left."""
    i32, size = ir.IntType(32), LANES
    while size > 1:
        size //= 2
        halves = (ir.Constant(ir.VectorType(i32, size), list(range(start, start + size))) for start in (0, size))
        value = combine(*(builder.shuffle_vector(value, value, half) for half in halves))
    return builder.extract_element(value, i32(0))


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any, target: ir.Type) -> Any:
    """Of an element of a flat array, as that of a value of another type."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), target.as_pointer())


def _product(add: bool) -> Any:
    """The routine for c[i, n] = sum over s of a[i, s] * b[s, n], or c += with `add`, for ROWS rows i and LANES columns n."""

    def typed(
        typing_context: Any, c: Any, c_at: Any, c_row: Any, a: Any, a_at: Any, a_row: Any, a_step: Any, b: Any, b_at: Any, b_step: Any,
        count: Any,
    ) -> Any:  # fmt: skip
        """Arguments: array, first element, and distance of rows or steps of each; number of steps."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_step, count = arguments
            kinds, i64, vector = signature.args, count.type, _vectors(LANES)
            targets, lefts, sums = [], [], []
            for i in range(ROWS):
                targets.append(_address(context, builder, kinds[0], c, builder.add(c_at, builder.mul(c_row, i64(i))), vector))
                lefts.append(_address(context, builder, kinds[3], a, builder.add(a_at, builder.mul(a_row, i64(i))), ir.FloatType()))
                start = builder.load(targets[i], align=4) if add else _all(0.0, vector)
                sums.append(cgutils.alloca_once_value(builder, start))
            with cgutils.for_range(builder, count) as loop:
                place = builder.add(b_at, builder.mul(loop.index, b_step))
                right = builder.load(_address(context, builder, kinds[7], b, place, vector), align=4)
                for left, total in zip(lefts, sums, strict=True):
                    value = builder.load(builder.gep(left, [builder.mul(loop.index, a_step)]))
                    term = builder.fmul(_spread(builder, value), right, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
            for target, total in zip(targets, sums, strict=True):
                builder.store(builder.load(total), target, align=4)
            return context.get_dummy_value()

        step = types.intp
        return types.void(c, step, step, a, step, step, step, b, step, step, step), generate

    return intrinsic(typed)


_set_product, _add_product = _product(add=False), _product(add=True)


def _seen(builder: Any, first: Any, seen: Any) -> Any:
    """Which of the LANES elements from `first` on are among the `seen` first."""
    i32 = ir.IntType(32)
    left = _spread(builder, builder.trunc(builder.sub(seen, first), i32))
    return builder.icmp_signed("<", ir.Constant(ir.VectorType(i32, LANES), list(range(LANES))), left)


@intrinsic
def _largest(typing_context: Any, x: Any, first: Any, seen: Any) -> Any:
    """The largest of `seen` elements from `first` on; compilers make no vectors of it if there may be NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, first, seen = arguments
        vector = _vectors(LANES)
        top = cgutils.alloca_once_value(builder, _all(float(LOWEST), vector))

        def larger(left: Any, right: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", left, right), left, right)

        with cgutils.for_range_slice(builder, seen.type(0), seen, seen.type(LANES)) as (j, _):
            value = builder.load(_address(context, builder, signature.args[0], x, builder.add(first, j), vector), align=4)
            value = builder.select(_seen(builder, j, seen), value, _all(float(LOWEST), vector))
            builder.store(larger(value, builder.load(top)), top)
        return _fold(builder, builder.load(top), larger)

    return types.float32(x, types.intp, types.intp), generate


def _powers(builder: Any, x: Any) -> Any:
    """Code for 2^x, x up to 126: 2^round(x), put into the exponent's bits, times a polynomial in the rest (relative error 1e-7).

    The comparison keeps what is no number.
    """
    vector, integers = x.type, ir.VectorType(ir.IntType(32), x.type.count)

    def times_plus(left: Any, right: Any, more: float) -> Any:
        return builder.fadd(builder.fmul(left, right, flags=("contract",)), _all(more, vector), flags=("contract",))

    x = builder.select(builder.fcmp_ordered("<", x, _all(-126.0, vector)), _all(-126.0, vector), x)
    floor = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector]), f"llvm.floor.v{vector.count}f32")
    whole = builder.call(floor, [builder.fadd(x, _all(0.5, vector))])
    x, total = builder.fsub(x, whole), _all(POLYNOMIAL[0], vector)
    for coefficient in POLYNOMIAL[1:]:
        total = times_plus(total, x, coefficient)
    exponent = builder.shl(builder.add(builder.fptosi(whole, integers), _all(127, integers)), _all(23, integers))
    return builder.fmul(total, builder.bitcast(exponent, vector))


@intrinsic
def _exponentials(typing_context: Any, x: Any, first: Any, seen: Any, count: Any, top: Any) -> Any:
    """Turn `seen` elements into 2^(x - top) and those up to `count` into 0; returns their sum."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, first, seen, count, top = arguments
        vector = _vectors(LANES)
        total, top = cgutils.alloca_once_value(builder, _all(0.0, vector)), _spread(builder, top)
        with cgutils.for_range_slice(builder, count.type(0), count, count.type(LANES)) as (j, _):
            place = _address(context, builder, signature.args[0], x, builder.add(first, j), vector)
            power = _powers(builder, builder.fsub(builder.load(place, align=4), top))
            power = builder.select(_seen(builder, j, seen), power, _all(0.0, vector))
            builder.store(power, place, align=4)
            builder.store(builder.fadd(builder.load(total), power), total)
        return _fold(builder, builder.load(total), builder.fadd)

    return types.float32(x, types.intp, types.intp, types.intp, types.float32), generate


@intrinsic
def _weigh(typing_context: Any, x: Any, y: Any, first: Any, seen: Any, count: Any, top: Any, drop: Any) -> Any:
    """Turn `seen` elements into x = 2^(x - top) and y = x * (y - drop), and those up to `count` into 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y, first, seen, count, top, drop = arguments
        vector, top, drop = _vectors(LANES), _spread(builder, top), _spread(builder, drop)
        with cgutils.for_range_slice(builder, count.type(0), count, count.type(LANES)) as (j, _):
            x_place, y_place = (
                _address(context, builder, kind, array, builder.add(first, j), vector)
                for kind, array in zip(signature.args, (x, y), strict=False)
            )
            mask, zeros = _seen(builder, j, seen), _all(0.0, vector)
            power = _powers(builder, builder.fsub(builder.load(x_place, align=4), top))
            change = builder.fmul(power, builder.fsub(builder.load(y_place, align=4), drop))
            builder.store(builder.select(mask, power, zeros), x_place, align=4)
            builder.store(builder.select(mask, change, zeros), y_place, align=4)
        return context.get_dummy_value()

    return types.void(x, y, types.intp, types.intp, types.intp, types.float32, types.float32), generate


@intrinsic
def _transpose(typing_context: Any, target: Any, at: Any, source: Any, start: Any, step: Any) -> Any:
    """Transpose SQUARE rows of SQUARE elements: those of the source are `step` apart, those of the target LANES."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, at, source, start, step = arguments
        vector, i64 = _vectors(SQUARE), step.type

        def join(left: Any, right: Any, numbers: list[int]) -> Any:
            return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(ir.IntType(32), SQUARE), numbers))

        places = (builder.add(start, builder.mul(step, i64(i))) for i in range(SQUARE))
        rows = [builder.load(_address(context, builder, signature.args[2], source, place, vector), align=4) for place in places]
        # In three rounds, each one instruction: neighbours of single elements, of pairs, and of halves.
        for distance, low, high in (
            (1, [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]),
            (2, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
            (4, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
        ):
            pairs = [(i, i + distance) for i in range(SQUARE) if not i & distance]
            halves = {i: (join(rows[i], rows[k], low), join(rows[i], rows[k], high)) for i, k in pairs}
            rows = [halves[i & ~distance][bool(i & distance)] for i in range(SQUARE)]
        for i, row in enumerate(rows):
            # The rounds have left columns 1 and 2, and 5 and 6, in each other's place.
            place = builder.add(at, i64((0, 2, 1, 3, 4, 6, 5, 7)[i] * LANES))
            builder.store(row, _address(context, builder, signature.args[0], target, place, vector), align=4)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, types.intp), generate


@intrinsic
def _clear(typing_context: Any, x: Any, first: Any, count: Any) -> Any:
    """Fill `count` elements with 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, first, count = arguments
        place = _address(context, builder, signature.args[0], x, first, ir.IntType(8))
        cgutils.memset(builder, place, builder.mul(count, count.type(4)), 0)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp), generate


@intrinsic
def _copy(typing_context: Any, target: Any, at: Any, source: Any, start: Any, count: Any, factor: Any) -> Any:
    """Copy `count` elements, a multiple of LANES, times a factor."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, at, source, start, count, factor = arguments
        vector, factor = _vectors(LANES), _spread(builder, factor)
        with cgutils.for_range_slice(builder, count.type(0), count, count.type(LANES)) as (j, _):
            place = _address(context, builder, signature.args[2], source, builder.add(start, j), vector)
            value = builder.fmul(builder.load(place, align=4), factor)
            builder.store(value, _address(context, builder, signature.args[0], target, builder.add(at, j), vector), align=4)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, types.intp, types.float32), generate


@_compiled
def _take(view: Any, places: Any, low: int, factor: float, rows: Any, at: int, size: int) -> None:
    """Copy heads from `low` on of some places, times a factor, to rows [heads, L, E] from `at` on."""
    flat, row, step = view
    for j in range(len(places)):
        for h in range(len(rows)):
            _copy(rows[h], (at + j) * size, flat, places[j] * row + (low + h) * step, size, factor)


@_compiled
def _give(rows: Any, at: int, count: int, factor: float, view: Any, start: int, low: int, size: int) -> None:
    """Copy `count` rows from `at` on, times a factor, to the places from `start` on."""
    flat, row, step = view
    for j in range(count):
        for h in range(len(rows)):
            _copy(flat, (start + j) * row + (low + h) * step, rows[h], (at + j) * size, size, factor)


@_compiled
def _turn(rows: Any, first: int, last: int, panels: Any, size: int) -> None:
    """Bring rows [heads, L, E] into the shape of the right side of products with queries: [heads, L / LANES, E, LANES]."""
    for h in range(len(rows)):
        for j in range(first // SQUARE * SQUARE, last, SQUARE):
            target = j // LANES * size * LANES + j % LANES
            for e in range(0, size, SQUARE):
                _transpose(panels[h], target + e * LANES, rows[h], j * size + e, size)


@_compiled
def _score(scores: Any, group: int, limit: int, left: Any, panels: Any, start: int, size: int) -> None:
    """Products of ROWS rows from `group` on with the keys [start, start + limit), LANES keys at a time."""
    for j in range(0, limit, LANES):
        _set_product(scores, group * WIDTH + j, WIDTH, left, group * size, size, 1, panels, (start + j) * size, LANES, size)


@_compiled
def _mix(out: Any, at: int, left: Any, left_at: int, left_row: int, step: int, right: Any, right_at: int, size: int, count: int) -> None:
    """Add ROWS rows of weighted sums of `count` rows to those of `out` from `at` on."""
    for e in range(0, size, LANES):
        _add_product(out, at + e, size, left, left_at, left_row, step, right, right_at + e, size, count)


@_compiled
def _soften(scores: Any, at: int, seen: int, limit: int, top: Any, total: Any, i: int) -> Any:
    """Turn row i of the scores into weights relative to 2^top, and update its top and total; returns the factor of what was before.

    The row begins at `at`; its query sees `seen` keys, and the scores of the others up to `limit` become 0.
    """
    before = top[i]
    best = max(before, _largest(scores, at, seen))
    added = _exponentials(scores, at, seen, limit, best)
    factor = np.exp2(before - best) if before > LOWEST else F32(0.0)
    top[i], total[i] = best, total[i] * factor + added
    return factor


@_compiled
def _forward_tile(
    queries: Any, count: int, past: int, key_panels: Any, values: Any, scores: Any, top: Any, total: Any, out: Any, size: int
) -> None:
    """Fill `out` with what `count` queries see, the first of which stands after `past` keys, and `top` with the logarithms of the sums."""
    top[:count], total[:count] = LOWEST, F32(0.0)
    _clear(out, 0, (count + ROWS) * size)
    for start in range(0, past + count, KEYS):
        for group in range(0, count, ROWS):
            last = min(group + ROWS, count)
            limit = min(past + last - start, KEYS)
            if limit <= 0:
                continue
            _score(scores, group, limit, queries, key_panels, start, size)
            for i in range(group, last):
                factor = _soften(scores, i * WIDTH, max(min(past + i + 1 - start, KEYS), 0), limit, top, total, i)
                if start > 0:
                    _copy(out, i * size, out, i * size, size, factor)
            _mix(out, group * size, scores, group * WIDTH, WIDTH, 1, values, start * size, size, limit)
    for i in range(count):
        _copy(out, i * size, out, i * size, size, F32(1.0) / total[i])
        top[i] += np.log2(total[i])


@_compiled
def forward(inputs: Any, blocks: Any, prefixes: Any, groups: int, size: int, out: Any, sums_HP: Any, units: Any) -> None:
    """Attention of some units.

    Args:
        inputs: views of the queries [P, H, E], keys [P, K, E] and values [P, K, E].
        blocks: [B, 5] first place, rows, width T, first entry and number of entries in `prefixes`.
        prefixes: [J] places.
        groups: H / K.
        size: E.
        out: view of the result [P, H, E], to be filled.
        sums_HP: binary logarithms of the sums of exponentials, to be filled.
        units: [U, 3] block, first and last key-value head.
    """
    q, k, v = inputs
    scores, total = np.empty(TILE * WIDTH, np.float32), np.empty(TILE, np.float32)
    for unit in range(len(units)):
        block, low, high = units[unit]
        first, rows, width, entry, above = blocks[block]
        room, query_room = (high - low, (above + width + LANES) * size), ((high - low) * groups, (width + ROWS) * size)
        # What lies beyond the last row is computed with and not used, but must be a number.
        keys, values, key_panels = np.zeros(room, np.float32), np.zeros(room, np.float32), np.zeros(room, np.float32)
        queries, mixed = np.zeros(query_room, np.float32), np.empty(query_room, np.float32)
        for row in range(-1, rows):
            # First the prefix, which stays for all rows.
            start, at = first + row * width, above if row >= 0 else 0
            places = np.arange(start, start + width) if row >= 0 else prefixes[entry : entry + above]
            _take(k, places, low, 1.0, keys, at, size)
            _take(v, places, low, 1.0, values, at, size)
            _turn(keys, at, at + len(places), key_panels, size)
            if row < 0:
                continue
            _take(q, places, low * groups, LOG2_E / math.sqrt(size), queries, 0, size)
            for head in range(len(queries)):
                h, top = head // groups, sums_HP[low * groups + head, start:]
                for done in range(0, width, TILE):
                    _forward_tile(
                        queries[head, done * size :], min(TILE, width - done), above + done, key_panels[h], values[h], scores,
                        top[done:], total, mixed[head, done * size :], size,
                    )  # fmt: skip
            _give(mixed, 0, width, 1.0, out, start, low * groups, size)


@_compiled
def _backward_tile(
    queries: Any, grads: Any, sums: Any, drops: Any, count: int, past: int, keys: Any, key_panels: Any, value_panels: Any,
    weights: Any, changes: Any, d_queries: Any, d_keys: Any, d_values: Any, size: int,
) -> None:  # fmt: skip
    """Fill the gradient of `count` queries, and add to those of the keys and values that they see.

    The gradient of a score is weight * (gradient of the weight - drop), where the drop is the product of the result with its gradient.
    Weights and changes are scratch.
    """
    _clear(d_queries, 0, (count + ROWS) * size)
    for start in range(0, past + count, KEYS):
        for group in range(0, count, ROWS):
            last = min(group + ROWS, count)
            limit = min(past + last - start, KEYS)
            if limit <= 0:
                continue
            _score(weights, group, limit, queries, key_panels, start, size)
            _score(changes, group, limit, grads, value_panels, start, size)
            for i in range(group, last):
                # The products with ROWS keys below take some elements beyond `limit`.
                seen = max(min(past + i + 1 - start, KEYS), 0)
                _weigh(weights, changes, i * WIDTH, seen, min(limit + ROWS, WIDTH), sums[i], drops[i])
            _mix(d_queries, group * size, changes, group * WIDTH, WIDTH, 1, keys, start * size, size, limit)
        for j in range(0, min(past + count - start, KEYS), ROWS):
            # The first query that sees one of these keys.
            i = max(start + j - past, 0)
            target, source = (start + j) * size, i * WIDTH + j
            _mix(d_keys, target, changes, source, 1, WIDTH, queries, i * size, size, count - i)
            _mix(d_values, target, weights, source, 1, WIDTH, grads, i * size, size, count - i)


@_compiled
def _drop(grads: Any, results: Any, drops: Any) -> None:
    """Fill the products of gradients and results [heads, T, E]."""
    for head in range(len(drops)):
        for i in range(drops.shape[1]):
            total = F32(0.0)
            for e in range(grads.shape[2]):
                total += grads[head, i, e] * results[head, i, e]
            drops[head, i] = total


@_compiled
def backward(
    inputs: Any, grad: Any, out: Any, sums_HP: Any, blocks: Any, prefixes: Any, groups: int, size: int, gradients: Any, units: Any
) -> None:
    """Gradients of some units.

    Args:
        inputs: as in `forward`.
        grad: view of the gradient of the result.
        out: view of what `forward` filled.
        sums_HP: what `forward` filled.
        blocks: as in `forward`.
        prefixes: as in `forward`.
        groups: as in `forward`.
        size: as in `forward`.
        gradients: views to be filled: of queries [P, H, E], of keys and values [P, K, E] as far as it comes from a segment's own tokens,
            and of keys and values of the prefixes [J, K, E].
        units: as in `forward`.
    """
    (q, k, v), (d_q, d_k, d_v, d_prefix_k, d_prefix_v) = inputs, gradients
    weights, changes = np.empty(TILE * WIDTH, np.float32), np.empty(TILE * WIDTH, np.float32)
    for unit in range(len(units)):
        block, low, high = units[unit]
        first, rows, width, entry, above = blocks[block]
        room, query_room = (high - low, (above + width + LANES) * size), ((high - low) * groups, (width + ROWS) * size)
        store, query_store = np.zeros((6, *room), np.float32), np.zeros((3, *query_room), np.float32)
        keys, key_panels, d_keys, values, value_panels, d_values = store[0], store[1], store[2], store[3], store[4], store[5]
        queries, grads, d_queries = query_store[0], query_store[1], query_store[2]
        drops = np.empty((len(queries), width), np.float32)
        for row in range(-1, rows):
            start, at = first + row * width, above if row >= 0 else 0
            places = np.arange(start, start + width) if row >= 0 else prefixes[entry : entry + above]
            _take(k, places, low, 1.0, keys, at, size)
            _take(v, places, low, 1.0, values, at, size)
            _turn(keys, at, at + len(places), key_panels, size)
            _turn(values, at, at + len(places), value_panels, size)
            if row < 0:
                continue
            _take(out, places, low * groups, 1.0, queries, 0, size)
            _take(grad, places, low * groups, 1.0, grads, 0, size)
            _drop(grads.reshape(len(grads), -1, size), queries.reshape(len(grads), -1, size), drops)
            _take(q, places, low * groups, LOG2_E / math.sqrt(size), queries, 0, size)
            for h in range(high - low):
                _clear(d_keys[h], above * size, width * size)
                _clear(d_values[h], above * size, width * size)
            for head in range(len(queries)):
                h, sums = head // groups, sums_HP[low * groups + head, start:]
                for done in range(0, width, TILE):
                    _backward_tile(
                        queries[head, done * size :], grads[head, done * size :], sums[done:], drops[head, done:],
                        min(TILE, width - done), above + done, keys[h], key_panels[h], value_panels[h], weights, changes,
                        d_queries[head, done * size :], d_keys[h], d_values[h], size,
                    )  # fmt: skip
            _give(d_queries, 0, width, 1.0 / math.sqrt(size), d_q, start, low * groups, size)
            # The queries carry a factor of log2(e) too much.
            _give(d_keys, above, width, 1.0 / LOG2_E, d_k, start, low, size)
            _give(d_values, above, width, 1.0, d_v, start, low, size)
        # The gradients of the prefix have been summed over the rows.
        _give(d_keys, 0, above, 1.0 / LOG2_E, d_prefix_k, entry, low, size)
        _give(d_values, 0, above, 1.0, d_prefix_v, entry, low, size)
