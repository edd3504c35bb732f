"""The compiled kernels beside the operations of torch, over ragged lengths, grouped heads and odd sizes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from spadework.engines import cpu_kernels


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(
    kv_heads=st.sampled_from([1, 2, 3, 5, 9]),
    groups=st.integers(1, 3),
    size=st.sampled_from([4, 8, 16, 20, 32, 40, 64, 76]),
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=5),
    scale=st.sampled_from([0.1, 1.0, 8.0]),
    share=st.sampled_from([0.0, 0.3, 0.9]),
    seed=st.integers(0, 1000),
)
def test_attention_of_one_token_per_row(
    kv_heads: int, groups: int, size: int, lengths: list[int], scale: float, share: float, seed: int
) -> None:
    count = len(lengths)
    keys, values = noise(seed, 2 * count, kv_heads, 70, size), noise(seed + 1, 2 * count, kv_heads, 70, size)
    q = noise(seed + 2, count, kv_heads * groups, size) * scale
    rows = np.arange(count)[::-1] * 2  # Idle rows in between, in any order.
    # Every other sequence shares positions with the first.
    origins = np.where(np.arange(count) % 2, rows[0], rows)
    shared = np.where(np.arange(count) % 2, (np.minimum(lengths, lengths[0]) * share).astype(int), 0)
    for row, origin, known in zip(rows, origins, shared, strict=True):
        keys[row, :, :known], values[row, :, :known] = keys[origin, :, :known], values[origin, :, :known]
    expected = torch.stack(
        [
            F.scaled_dot_product_attention(
                q[i, :, None].double(), *(x[row, :, :length].repeat_interleave(groups, 0).double() for x in (keys, values))
            )[:, 0]
            for i, (row, length) in enumerate(zip(rows, lengths, strict=True))
        ]
    )
    # What is shared is read from its origin alone, and nothing beyond a row's length is read.
    for row, origin, known, length in zip(rows, origins, shared, lengths, strict=True):
        for x in (keys, values):
            x[row, :, length:] = torch.nan
            if row != origin:
                x[row, :, :known] = torch.nan

    def attend(some: slice) -> torch.Tensor:
        out = torch.full_like(q[some], torch.nan)
        cached = q[some].numpy(), keys.numpy(), values.numpy()
        cpu_kernels.attend(*cached, rows[some], origins[some], shared[some], np.array(lengths[some]), out.numpy())
        return out

    out = attend(slice(None))
    # The rounding of a score grows with its size.
    torch.testing.assert_close(out, expected.float(), atol=2e-6 * max(1.0, scale), rtol=1e-5)
    parts = [attend(slice(0, count // 2)), attend(slice(count // 2, count))]
    assert torch.equal(out, torch.cat(parts)), "a row's result does not depend on the other rows"


@pytest.mark.parametrize("room", [8, 64])
def test_attention_reads_a_full_row_and_not_what_lies_behind_it(room: int) -> None:
    # Equal keys weigh all values alike: the mean of 0 ... room - 1, of which half are those of the origin.
    keys, values = torch.zeros(3, 2, room, 32), torch.full((3, 2, room, 32), torch.nan)
    values[0, :, : room // 2], values[1, :, room // 2 :] = torch.arange(room).float()[:, None].expand(2, room, 32).split(room // 2, 1)
    out, index = torch.empty(1, 4, 32), np.array([1])
    arrays = (torch.zeros(1, 4, 32).numpy(), keys.numpy(), values.numpy(), index, index * 0, index * (room // 2), index * room)
    cpu_kernels.attend(*arrays, out.numpy())
    torch.testing.assert_close(out, torch.full_like(out, (room - 1) / 2))


@pytest.mark.parametrize(("width", "start"), [(1, 0), (5, 0), (3, 30)])
def test_causal_softmax(width: int, start: int) -> None:
    scores = noise(0, 2 * width, start + width) * 20
    hidden = torch.arange(start + width) > torch.arange(start, start + width).repeat(2)[:, None]
    expected = (scores * 0.3).masked_fill(hidden, -torch.inf).softmax(-1)
    cpu_kernels.softmax(scores.numpy(), width, start, 0.3)
    torch.testing.assert_close(scores, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("offset", [-1e4, 0.0, 1e4])
def test_softmax_far_from_zero(offset: float) -> None:
    scores = noise(0, 4, 50) - 3
    expected = scores.softmax(-1)
    shifted = scores + offset
    cpu_kernels.softmax(shifted.numpy(), 1, 49, 1.0)
    torch.testing.assert_close(shifted, expected, atol=1e-6, rtol=2e-3)  # Beside 1e4 float32 has steps of 1e-3.


@pytest.mark.parametrize("normed", [True, False])
def test_queries_keys_and_values_find_their_place(normed: bool) -> None:
    raw, weights = noise(0, 5, 4 + 2 * 2, 6), noise(1, 6, 6)
    cos, sin = noise(2, 9, 6), noise(3, 9, 6)
    rows, positions = np.array([0, 2, 2, 2, 1]), np.array([3, 0, 1, 2, 8])
    q, keys, values = torch.zeros(5, 4, 6), torch.zeros(3, 2, 9, 6), torch.zeros(3, 2, 9, 6)
    cpu_kernels.place(
        raw.numpy(), (weights if normed else torch.ones(6, 6)).numpy(), normed, 1e-6, cos.numpy(), sin.numpy(), rows, positions,
        q.numpy(), keys.numpy(), values.numpy(),
    )  # fmt: skip
    qk = F.rms_norm(raw[:, :6], (6,), None, 1e-6) * weights if normed else raw[:, :6]
    turned = qk * cos[positions][:, None] + qk.roll(3, -1) * sin[positions][:, None]
    torch.testing.assert_close(q, turned[:, :4])
    torch.testing.assert_close(keys[rows, :, positions], turned[:, 4:])
    torch.testing.assert_close(values[rows, :, positions], raw[:, 6:])
    assert keys.any(-1).any(1).sum() == 5, "nothing else is written"
