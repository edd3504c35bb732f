"""Arrays over policy tokens by hand, and the recursion beside the loop that it replaces."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.algorithms.credit.policy_tokens import discounted_sums, place_rewards, read, whiten, write
from spadework.trajectories.tree import Trajectory


def trajectory() -> Trajectory:
    """Turns of 2, 0 and 3 tokens, of which the second of the last was forced."""
    made = Trajectory("t", reward=10.0)
    made.add("prompt", [1], parent=None)
    for size in (2, 0, 3):
        node = made.add("generation", [5] * size, parent=len(made.nodes) - 1, logprobs=[-1.0] * size, entropies=list(range(size)))
        made.add("observation", [9, 9], parent=node.id)
    made.nodes[5] = replace(made.nodes[5], mask=[True, False, True])
    return made


def test_rewards_fall_on_policy_tokens() -> None:
    made = trajectory()
    made.nodes[1].reward, made.nodes[3].reward, made.nodes[5].reward = 1.0, 2.0, 4.0
    made.nodes[5].token_rewards = [0.5, 100.0, 0.25]  # a forced token earns nothing
    # The second turn has no token: its reward falls on the one before.
    assert place_rewards(made).tolist() == [0, 3.0, 0.5, 14.25]
    assert place_rewards(Trajectory("t", reward=1.0)).tolist() == []


def test_read_and_write_are_inverse() -> None:
    made = trajectory()
    assert read(made, "entropies").tolist() == [0, 1, 0, 2]
    write(made, advantages=np.array([1.0, 2.0, 3.0, 4.0]))
    assert [node.advantages for node in made.nodes] == [[0], [1, 2], [0, 0], [], [0, 0], [3, 0, 4], [0, 0]]
    assert read(made, "advantages").tolist() == [1, 2, 3, 4]
    write(made, returns=np.full(4, 0.5))
    assert [node.returns for node in made.nodes] == [[0], [0.5, 0.5], [0, 0], [], [0, 0], [0.5, 0, 0.5], [0, 0]]
    assert all(type(value) is float for node in made.nodes for value in node.returns)


@given(st.lists(st.lists(st.floats(-5, 5), max_size=6), max_size=4), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_discounted_sums(rows: list[list[float]], factor: float) -> None:
    found = discounted_sums([np.array(row, dtype=np.float64) for row in rows], factor)
    for row, sums in zip(rows, found, strict=True):
        total, expected = 0.0, []
        for value in reversed(row):
            total = value + factor * total
            expected.append(total)
        assert sums.tolist() == pytest.approx(expected[::-1], abs=1e-9)


def test_whiten() -> None:
    # 0, 1, 2, 5: mean 2, variance (4 + 1 + 0 + 9) / 3
    std = (14 / 3) ** 0.5
    first, second = whiten([np.array([0.0, 1.0]), np.array([2.0, 5.0])])
    assert [*first, *second] == pytest.approx([-2 / std, -1 / std, 0, 3 / std])
    assert [row.tolist() for row in whiten([np.array([3.0]), np.array([3.0, 3.0])])] == [[0], [0, 0]]
    assert list(whiten([])) == [] and next(whiten([np.array([1.0])])).tolist() == [0]


def test_several_turns_may_pay_on_the_same_token() -> None:
    made = trajectory()
    made.nodes[5] = replace(made.nodes[5], mask=[False] * 3, reward=4.0)
    made.nodes[1].reward, made.nodes[3].reward = 1.0, 2.0
    # Turns of 2, 0 and 0 tokens, and the trajectory's 10
    assert place_rewards(made).tolist() == [0, 17.0]
    made.nodes[1] = replace(made.nodes[1], mask=[False] * 2)
    made.nodes[5] = replace(made.nodes[5], mask=[True, False, True])
    # Turns of 0, 0 and 2: what comes before the first token falls on it.
    assert place_rewards(made).tolist() == [3.0, 14.0]


def test_two_values_have_a_spread() -> None:
    # 1, 3: mean 2, variance (1 + 1) / 1
    assert np.concatenate(list(whiten([np.array([1.0]), np.array([3.0])]))) == pytest.approx([-(0.5**0.5), 0.5**0.5])
    # The spread of rounding is none: 1e9 and the next float
    assert next(whiten([np.array([1e9, np.nextafter(1e9, 2e9)])])).tolist() == [0, 0]
