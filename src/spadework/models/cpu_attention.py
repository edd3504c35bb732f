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

from spadework.models import vectors
from spadework.models.compiled import compiled
from spadework.models.vectors import LANES, ROWS, SQUARE

__all__ = ["backward", "forward"]

F32: Any = np.float32
LOG2_E = math.log2(math.e)
LOWEST = F32(vectors.LOWEST)
TILE = 48
"""Queries whose scores are kept at a time; a multiple of ROWS."""
KEYS = 192
"""Keys for which they are kept; a multiple of ROWS and LANES."""
WIDTH = KEYS + LANES
"""Between the rows of the scores: an odd number of cache lines, so that they spread over the first-level cache."""

# Without the flags for NaN and infinity: a score that is no number must not vanish in a comparison.
_compiled = compiled(fastmath={"reassoc", "contract", "arcp", "nsz"})


@_compiled
def _take(view: Any, places: Any, low: int, factor: float, rows: Any, at: int, size: int) -> None:
    """Copy heads from `low` on of some places, times a factor, to rows [heads, L, E] from `at` on."""
    flat, row, step = view
    for j in range(len(places)):
        for h in range(len(rows)):
            vectors.copy(rows[h], (at + j) * size, flat, places[j] * row + (low + h) * step, size, factor)


@_compiled
def _give(rows: Any, at: int, count: int, factor: float, view: Any, start: int, low: int, size: int) -> None:
    """Copy `count` rows from `at` on, times a factor, to the places from `start` on."""
    flat, row, step = view
    for j in range(count):
        for h in range(len(rows)):
            vectors.copy(flat, (start + j) * row + (low + h) * step, rows[h], (at + j) * size, size, factor)


@_compiled
def _turn(rows: Any, first: int, last: int, panels: Any, size: int) -> None:
    """Bring rows [heads, L, E] into the shape of the right side of products with queries: [heads, L / LANES, E, LANES]."""
    for h in range(len(rows)):
        for j in range(first // SQUARE * SQUARE, last, SQUARE):
            target = j // LANES * size * LANES + j % LANES
            for e in range(0, size, SQUARE):
                vectors.transpose(panels[h], target + e * LANES, rows[h], j * size + e, size)


@_compiled
def _score(scores: Any, group: int, limit: int, left: Any, panels: Any, start: int, size: int) -> None:
    """Products of ROWS rows from `group` on with the keys [start, start + limit), LANES keys at a time."""
    for j in range(0, limit, LANES):
        vectors.set_product(scores, group * WIDTH + j, WIDTH, left, group * size, size, 1, panels, (start + j) * size, LANES, size)


@_compiled
def _mix(out: Any, at: int, left: Any, left_at: int, left_row: int, step: int, right: Any, right_at: int, size: int, count: int) -> None:
    """Add ROWS rows of weighted sums of `count` rows to those of `out` from `at` on."""
    for e in range(0, size, LANES):
        vectors.add_product(out, at + e, size, left, left_at, left_row, step, right, right_at + e, size, count)


@_compiled
def _soften(scores: Any, at: int, seen: int, limit: int, top: Any, total: Any, i: int) -> Any:
    """Turn a row of scores into weights relative to 2^top, and bring top and total up to date; returns the factor of what was before.

    Args:
        scores: of all rows.
        at: where the row begins.
        seen: number of keys that the query sees.
        limit: number of scores, of which the others become 0.
        top: largest score of each row so far.
        total: sum of weights of each row so far.
        i: the row.
    """
    before = top[i]
    best = max(before, vectors.largest(scores, at, seen))
    added = vectors.exponentials(scores, at, seen, limit, best)
    factor = np.exp2(before - best) if before > LOWEST else F32(0.0)
    top[i], total[i] = best, total[i] * factor + added
    return factor


@_compiled
def _forward_tile(
    queries: Any, count: int, past: int, key_panels: Any, values: Any, scores: Any, top: Any, total: Any, out: Any, size: int
) -> None:
    """Fill `out` with what `count` queries see, the first of which stands after `past` keys, and `top` with the logarithms of the sums."""
    top[:count], total[:count] = LOWEST, F32(0.0)
    vectors.clear(out, 0, (count + ROWS) * size)
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
                    vectors.copy(out, i * size, out, i * size, size, factor)
            _mix(out, group * size, scores, group * WIDTH, WIDTH, 1, values, start * size, size, limit)
    for i in range(count):
        vectors.copy(out, i * size, out, i * size, size, F32(1.0) / total[i])
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

    The gradient of a score is weight * (gradient of the weight - drop).

    Args:
        queries: rows.
        grads: of their results.
        sums: logarithms of their sums of exponentials.
        drops: products of `grads` and results.
        count: of the queries.
        past: keys before the first query.
        keys: rows.
        key_panels: [L / LANES, E, LANES].
        value_panels: [L / LANES, E, LANES].
        weights: scratch.
        changes: scratch.
        d_queries: to be filled.
        d_keys: to be added to.
        d_values: to be added to.
        size: E.
    """
    vectors.clear(d_queries, 0, (count + ROWS) * size)
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
                vectors.weigh(weights, changes, i * WIDTH, seen, min(limit + ROWS, WIDTH), sums[i], drops[i])
            _mix(d_queries, group * size, changes, group * WIDTH, WIDTH, 1, keys, start * size, size, limit)
        for j in range(0, min(past + count - start, KEYS), ROWS):
            # The first query that sees one of these keys.
            i = max(start + j - past, 0)
            target, source = (start + j) * size, i * WIDTH + j
            _mix(d_keys, target, changes, source, 1, WIDTH, queries, i * size, size, count - i)
            _mix(d_values, target, weights, source, 1, WIDTH, grads, i * size, size, count - i)


@_compiled
def _drop(grads: Any, results: Any, drops: Any, count: int, size: int) -> None:
    """Fill the products of gradients and results."""
    for head in range(len(grads)):
        for i in range(count):
            drops[head, i] = vectors.dot(grads[head], results[head], i * size, size)


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
            _drop(grads, queries, drops, width, size)
            _take(q, places, low * groups, LOG2_E / math.sqrt(size), queries, 0, size)
            for h in range(high - low):
                vectors.clear(d_keys[h], above * size, width * size)
                vectors.clear(d_values[h], above * size, width * size)
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
