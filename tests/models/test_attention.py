"""A packed forest gives every token what it gets when its path runs alone through transformers, forwards and backwards."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from spadework.models.attention import PackedAttention, causal_mask
from spadework.models.checkpoint import parameters
from spadework.models.decoder import Rotary, fuse, hidden_states

Shape = list[tuple[int, int | None]]
"""Length and parent of every segment."""

FAMILY: Shape = [(9, None), (4, 0), (6, 0), (5, 0), (3, 1), (7, 3), (5, None), (1, None), (2, 7), (8, None), (4, 4)]
"""A prompt with three children, two grandchildren, a great-grandchild, a chain of two, and two more roots."""


def segments_of(shape: Shape) -> list[tuple[int, int, int | None]]:
    starts = [sum(length for length, _ in shape[:index]) for index in range(len(shape))]
    return [(start, length, parent) for start, (length, parent) in zip(starts, shape, strict=True)]


def packed(model: PreTrainedModel, shape: Shape, token_ids: torch.Tensor, waste: float = 0.1) -> torch.Tensor:
    """Final hidden states [N, D] of the pack."""
    attend = PackedAttention(segments_of(shape), waste=waste)
    weights = fuse(model.config, parameters(model), torch.float32)
    rotation = Rotary(model.config, torch.device("cpu"), torch.float32).at(attend.positions, attend.length)
    return hidden_states(weights, token_ids[attend.order], rotation, attend)[attend.where]


def alone(model: PreTrainedModel, shape: Shape, token_ids: torch.Tensor) -> torch.Tensor:
    """The same, every path by itself through transformers."""
    segments, rows = segments_of(shape), []
    for number in range(len(shape)):
        path, current = torch.empty(0, dtype=torch.long), number
        while current is not None:
            start, length, parent = segments[current]
            path = torch.cat([token_ids[start : start + length], path])
            current = parent
        rows.append(model.model(path[None]).last_hidden_state[0, -segments[number][1] :])
    return torch.cat(rows)


def some_tokens(shape: Shape) -> torch.Tensor:
    return torch.randint(0, 97, (sum(length for length, _ in shape),), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("waste", [0.0, 0.1, 0.9])
@torch.no_grad()
def test_a_forest_is_its_paths(decoder: PreTrainedModel, waste: float) -> None:
    token_ids = some_tokens(FAMILY)
    torch.testing.assert_close(packed(decoder, FAMILY, token_ids, waste), alone(decoder, FAMILY, token_ids), rtol=1e-4, atol=2e-5)


@st.composite
def forests(draw: st.DrawFn) -> Shape:
    shape: Shape = []
    for index in range(draw(st.integers(1, 9))):
        parent = draw(st.none() | st.integers(0, index - 1)) if index else None
        shape.append((draw(st.integers(1, 7)), parent))
    return shape


@settings(max_examples=40)
@given(shape=forests(), waste=st.sampled_from([0.0, 0.1, 0.5]))
@torch.no_grad()
def test_any_forest_is_its_paths(decoder: PreTrainedModel, shape: Shape, waste: float) -> None:
    token_ids = some_tokens(shape)
    torch.testing.assert_close(packed(decoder, shape, token_ids, waste), alone(decoder, shape, token_ids), rtol=1e-4, atol=2e-5)


@given(shape=forests(), waste=st.sampled_from([0.0, 0.1, 0.5]))
def test_the_layout_holds_every_token_once_and_little_padding(shape: Shape, waste: float) -> None:
    attend = PackedAttention(segments_of(shape), waste=waste)
    total = sum(length for length, _ in shape)
    assert sorted(attend.order[attend.where].tolist()) == list(range(total))
    assert len(attend.order) == sum(block.rows * block.width for block in attend.blocks)
    assert len(attend.order) * (1 - waste) <= total + 1e-9
    depth = [0] * len(shape)
    for number, (start, length, parent) in enumerate(segments_of(shape)):
        above = depth[parent] if parent is not None else 0
        depth[number] = above + length
        assert attend.positions[attend.where[start : start + length]].tolist() == list(range(above, above + length))
    assert attend.length == max(depth)


def test_gradients_of_a_pack_are_the_sum_over_its_paths(decoder: PreTrainedModel) -> None:
    token_ids = some_tokens(FAMILY)
    weight = torch.randn(len(token_ids), 32, generator=torch.Generator().manual_seed(5))
    names, tensors = zip(*decoder.named_parameters(), strict=True)
    together = torch.autograd.grad((packed(decoder, FAMILY, token_ids) * weight).sum(), tensors)
    apart = torch.autograd.grad((alone(decoder, FAMILY, token_ids) * weight).sum(), tensors)
    for name, mine, theirs in zip(names, together, apart, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=2e-4 * float(theirs.abs().max()), msg=name)


def test_siblings_and_other_trees_are_not_seen(decoder: PreTrainedModel) -> None:
    token_ids = some_tokens(FAMILY)
    changed = token_ids.clone()
    start, length, _ = segments_of(FAMILY)[2]
    changed[start : start + length] = (changed[start : start + length] + 1) % 97
    with torch.no_grad():
        differs = (packed(decoder, FAMILY, token_ids) != packed(decoder, FAMILY, changed)).any(1)
    assert differs.nonzero()[:, 0].tolist() == list(range(start, start + length))


def test_the_causal_mask_by_hand() -> None:
    assert causal_mask(2, 1).tolist() == [[True, True, False], [True, True, True]]
