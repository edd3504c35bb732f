"""The compiled attention of packs, forwards and backwards, beside plain attention with a mask over the whole pack in float64."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spadework.models.attention import PackedAttention, Segment
from spadework.models.cpu_attention import KEYS, TILE

Results = tuple[Tensor, ...]
"""The output and the gradients of queries, keys and values."""


def segments_of(shape: list[tuple[int, int | None]]) -> list[Segment]:
    """From the length and the parent of every segment."""
    starts = [sum(length for length, _ in shape[:index]) for index in range(len(shape))]
    return [(start, length, parent) for start, (length, parent) in zip(starts, shape, strict=True)]


def some_tensors(segments: list[Segment], heads: int, kv_heads: int, size: int, scale: float = 1.0) -> list[Tensor]:
    """Queries, keys and values of the pack's tokens, and the gradient of the output."""
    total, generator = sum(length for _, length, _ in segments), torch.Generator().manual_seed(6)
    shapes = ((heads, size), (kv_heads, size), (kv_heads, size), (heads * size,))
    q, k, v, grad = (torch.randn(total, *shape, generator=generator) for shape in shapes)
    return [scale * q, k, v, grad]


def packed(segments: list[Segment], tensors: list[Tensor], waste: float = 0.1) -> Results:
    attend = PackedAttention(segments, waste=waste)
    q, k, v = (x.clone().requires_grad_() for x in tensors[:3])
    out = attend(0, q[attend.order], k[attend.order], v[attend.order])[attend.where]
    return out.detach(), *torch.autograd.grad(out, (q, k, v), tensors[3])


def dense(segments: list[Segment], tensors: list[Tensor]) -> Results:
    """One product of all queries with all keys, and a mask [N, N]."""
    q, k, v = (x.double().requires_grad_() for x in tensors[:3])
    mask = torch.zeros(len(q), len(q), dtype=torch.bool)
    for start, length, parent in segments:
        rows = slice(start, start + length)
        mask[rows, rows] = torch.ones(length, length, dtype=torch.bool).tril()
        while parent is not None:
            above, count, parent = segments[parent]
            mask[rows, above : above + count] = True
    repeat = q.shape[1] // k.shape[1]
    scores = torch.einsum("ihe,jhe->hij", q, k.repeat_interleave(repeat, 1)) / q.shape[2] ** 0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    out = torch.einsum("hij,jhe->ihe", weights, v.repeat_interleave(repeat, 1)).flatten(1)
    return out.detach(), *torch.autograd.grad(out, (q, k, v), tensors[3].double())


def assert_same(mine: Results, theirs: Results) -> None:
    for x, y in zip(mine, theirs, strict=True):
        torch.testing.assert_close(x.double(), y, rtol=1e-5, atol=1e-5 * max(1.0, float(y.abs().max())))


@st.composite
def forests(draw: st.DrawFn) -> list[Segment]:
    shape: list[tuple[int, int | None]] = []
    for index in range(draw(st.integers(1, 8))):
        parent = draw(st.none() | st.integers(0, index - 1)) if index else None
        shape.append((draw(st.integers(1, 20) | st.sampled_from([TILE - 1, TILE + 1, KEYS, KEYS + 1])), parent))
    return segments_of(shape)


@settings(max_examples=40, deadline=None)
@given(segments=forests(), waste=st.sampled_from([0.0, 0.1, 0.5]), heads=st.sampled_from([(1, 1, 16), (4, 2, 32), (3, 1, 32)]))
def test_any_forest_gets_what_a_mask_gives(segments: list[Segment], waste: float, heads: tuple[int, int, int]) -> None:
    tensors = some_tensors(segments, *heads)
    assert_same(packed(segments, tensors, waste), dense(segments, tensors))


SHAPES = {
    "no prefix": [(3 * KEYS + 7, None)],
    "long prefix": [(5 * KEYS // 2, None), (1, 0), (5, 0), (5, 0)],
    "short prefix": [(1, None), (2 * KEYS + 5, 0), (2 * KEYS, 0)],
    "levels": [(KEYS - 3, None), (TILE, 0), (7, 1), (9, 1), (KEYS, 2), (KEYS - 2, 2), (KEYS - 4, 2), (30, None), (31, 7)],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("size", [32, 128])
def test_prefixes_and_rows_of_all_lengths(shape: list[tuple[int, int | None]], size: int) -> None:
    segments = segments_of(shape)
    tensors = some_tensors(segments, 4, 2, size)
    assert_same(packed(segments, tensors), dense(segments, tensors))


def test_other_head_sizes_and_types_give_the_same() -> None:
    """They take torch's attention."""
    segments = segments_of(SHAPES["levels"])
    odd = some_tensors(segments, 4, 2, 24)
    assert_same(packed(segments, odd), dense(segments, odd))
    tensors = some_tensors(segments, 4, 2, 32)
    assert_same(packed(segments, [x.double() for x in tensors]), dense(segments, tensors))


def test_scores_far_apart() -> None:
    """Exponentials neither overflow nor lose the largest; scores of several hundred, of which float32 keeps five digits after the point."""
    segments = segments_of(SHAPES["levels"])
    tensors = some_tensors(segments, 2, 2, 32, scale=100.0)
    for mine, theirs in zip(packed(segments, tensors), dense(segments, tensors), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


def test_what_is_no_number_stays_none() -> None:
    segments = segments_of([(20, None), (5, 0), (5, 0)])
    tensors = some_tensors(segments, 2, 2, 16)
    tensors[1][22, 1] = torch.nan
    bad = packed(segments, tensors)[0].isnan().view(-1, 2, 16)
    # The key stands third in the first child: it and the two after it see the key, in its head only.
    assert bad.any(2).nonzero().tolist() == [[22, 1], [23, 1], [24, 1]]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kv_heads", [1, 3])
def test_threads_change_nothing(kv_heads: int) -> None:
    segments = segments_of([(100, None), *[(150, 0)] * 3, (90, None), *[(80, 4)] * 4, (300, None)])
    tensors = some_tensors(segments, 3, kv_heads, 32)
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(packed(segments, tensors))
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))
