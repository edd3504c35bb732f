"""Paths, leaves, branches, derived roots, and a refusal for every invariant of the tree."""

import copy
import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.trajectories.tree import Column, Group, Status, Trajectory, TreeError


def forest() -> Trajectory:
    """0 prompt - 1 generation - 2 observation - 3 generation, 4 generation (a branch); 5 prompt derived from 2 - 6 generation."""
    trajectory = Trajectory(task_id="t")
    trajectory.add("prompt", [1, 2], parent=None)
    trajectory.add("generation", [3], parent=0, logprobs=[-0.5])
    trajectory.add("observation", [4, 5], parent=1, meta={"documents": ["d1", "d2"]})
    trajectory.add("generation", [6], parent=2, logprobs=[-1.0])
    trajectory.add("generation", [7, 8], parent=2, logprobs=[-1.0, -2.0], entropies=[0.1, 0.2], version=3)
    trajectory.add("prompt", [9], parent=None, derived_from=2)
    trajectory.add("generation", [], parent=5, logprobs=[], meta={"documents": ["d2", "d3"]})
    return trajectory


def ids(nodes: Any) -> list[int]:
    return [node.id for node in nodes]


def test_paths_leaves_and_branches() -> None:
    trajectory = forest()
    assert ids(trajectory.path(3)) == [0, 1, 2, 3]
    assert ids(trajectory.path(4)) == [0, 1, 2, 4]
    assert trajectory.token_ids(4) == [1, 2, 3, 4, 5, 7, 8]
    # A derived root starts its own tokens: the path does not run through the node that it is derived from.
    assert trajectory.token_ids(6) == [9]
    assert trajectory.nodes[5].derived_from == 2
    assert ids(trajectory.leaves()) == [3, 4, 6]
    assert ids(trajectory.generations()) == [1, 3, 4, 6]
    assert (trajectory.num_turns, trajectory.num_sampled) == (4, 4)
    assert trajectory.documents() == {"d1", "d2", "d3"}


def test_only_generations_are_sampled() -> None:
    trajectory = forest()
    assert [node.mask for node in trajectory.nodes] == [[False] * 2, [True], [False] * 2, [True], [True] * 2, [False], []]
    assert (trajectory.nodes[2].logprobs, trajectory.nodes[2].entropies) == ([0.0, 0.0], [0.0, 0.0])
    assert (trajectory.nodes[4].logprobs, trajectory.nodes[4].entropies, trajectory.nodes[4].version) == ([-1.0, -2.0], [0.1, 0.2], 3)


def test_advantages_stand_on_sampled_tokens_only() -> None:
    trajectory = forest()
    trajectory.set_advantage(-0.25)
    assert [node.advantages for node in trajectory.nodes] == [[0.0] * 2, [-0.25], [0.0] * 2, [-0.25], [-0.25] * 2, [0.0], []]


def test_a_node_may_be_sampled_in_part() -> None:
    node = replace(forest().nodes[4], mask=[True, False])
    node.set_advantage(2.0)
    assert node.advantages == [2.0, 0.0]


def test_a_fork_goes_on_from_a_node() -> None:
    trajectory = forest()
    trajectory.set_advantage(1.0)
    trajectory.nodes[1].rewards["step"] = 1.0
    fork = trajectory.fork(2, sample=5)
    assert (fork.task_id, fork.sample, fork.status, ids(fork.nodes)) == ("t", 5, Status.RUNNING, [0, 1, 2])
    assert fork.token_ids(2) == trajectory.token_ids(2)
    assert [fork.origin(node) for node in fork.nodes] == [(0, 0), (0, 1), (0, 2)] == [trajectory.origin(n) for n in trajectory.nodes[:3]]
    assert all(node.advantages == [] and node.rewards == {} for node in fork.nodes)
    assert [node.shared_with for node in fork.fork(1, sample=6).nodes] == [(0, 0), (0, 1)]
    assert all(node.shared_with is None for node in trajectory.nodes)
    with pytest.raises(TreeError, match="trajectory t/0: no node 7 to fork at"):
        trajectory.fork(7, sample=1)


def test_a_fork_has_spent_what_it_shares() -> None:
    trajectory = forest()
    trajectory.nodes[2].meta["ledger"] = {"calls": 2.0, "errors": 0.0}
    trajectory.ledger = {"calls": 9.0, "errors": 1.0, "tokens": 50.0}
    assert trajectory.fork(1, sample=1).ledger == {"tokens": float(trajectory.nodes[1].num_sampled)}
    fork = trajectory.fork(2, sample=1)
    assert fork.ledger == {"calls": 2.0, "errors": 0.0, "tokens": float(trajectory.nodes[1].num_sampled)}


def test_what_is_trained() -> None:
    trajectory = forest()
    assert trajectory.trained
    trajectory.meta["train"] = False
    assert not trajectory.trained
    trajectory.meta["train"], trajectory.status = True, Status.BROKEN
    assert not trajectory.trained


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"kind": "observation", "token_ids": [1], "parent": 7}, "parent 7 does not exist"),
        ({"kind": "observation", "token_ids": [1], "parent": -1}, "parent -1 does not exist"),
        ({"kind": "generation", "token_ids": [1], "parent": 0}, "a generation needs its log-probabilities"),
        ({"kind": "observation", "token_ids": [1], "parent": 0, "logprobs": [-1.0]}, "observation tokens were not sampled"),
        ({"kind": "prompt", "token_ids": [1], "parent": None, "logprobs": [-1.0]}, "prompt tokens were not sampled"),
        ({"kind": "generation", "token_ids": [1, 2], "parent": 0, "logprobs": [-1.0]}, "1 logprobs for 2 tokens"),
        ({"kind": "generation", "token_ids": [1], "parent": 0, "logprobs": [-1.0], "entropies": []}, "0 entropies for 1 tokens"),
    ],
)
def test_what_would_break_the_tree_is_refused(arguments: dict[str, Any], why: str) -> None:
    trajectory = forest()
    with pytest.raises(TreeError, match=f"trajectory t/0: {why}"):
        trajectory.add(**arguments)
    assert len(trajectory.nodes) == 7


def test_a_node_does_not_share_the_callers_lists() -> None:
    trajectory, tokens, meta = Trajectory(task_id="t"), [1], {"finish": "stop"}
    node = trajectory.add("generation", tokens, parent=None, logprobs=[-1.0], meta=meta)
    tokens.append(2)
    meta["finish"] = "length"
    assert (node.token_ids, node.meta) == ([1], {"finish": "stop"})


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.lists(st.integers(0, 9), max_size=3)), min_size=1, max_size=12))
def test_any_forest(steps: list[tuple[bool, int, list[int]]]) -> None:
    trajectory = Trajectory(task_id="t")
    for sampled, at, tokens in steps:
        parent = at % len(trajectory.nodes) if trajectory.nodes and at < 18 else None
        trajectory.add("generation" if sampled else "prompt", tokens, parent=parent, logprobs=[-1.0] * len(tokens) if sampled else None)
    leaves = trajectory.leaves()
    covered = {node.id for leaf in leaves for node in trajectory.path(leaf.id)}
    assert covered == set(range(len(steps)))
    for node in trajectory.nodes:
        path = trajectory.path(node.id)
        assert (path[0].parent, path[-1]) == (None, node)
        assert all(child.parent == parent.id for parent, child in pairwise(path))
        assert trajectory.token_ids(node.id)[len(trajectory.token_ids(node.id)) - len(node.token_ids) :] == node.token_ids
    assert trajectory.num_sampled == sum(len(tokens) for sampled, _, tokens in steps if sampled)


def test_a_group_is_its_trajectories() -> None:
    group = Group(key="t", trajectories=[Trajectory("t"), Trajectory("t", sample=1)])
    assert len(group) == 2
    assert [trajectory.sample for trajectory in group] == [0, 1]


def test_a_column_is_a_sequence_of_its_numbers() -> None:
    whole = np.array([1.0, 2.0, 3.0])
    part = Column(memoryview(whole)[1:])
    whole[1] = 5.0  # a view shares its memory
    assert part == [5.0, 3.0] == list(part) and part == [5.0, 3.0] and part == Column([5, 3]) and len(part) == 2 and part[1] == 3.0
    assert part != [5.0] and part != (5.0, 4.0) and part != 5.0 and not Column([]) and repr(part) == "Column([5.0, 3.0])"
    assert isinstance(part[:1], Column) and part[:1] == [5.0]
    for copied in (copy.deepcopy(part), pickle.loads(pickle.dumps(part))):
        whole[1] = 7.0
        assert copied == [5.0, 3.0]
        whole[1] = 5.0
    with pytest.raises(TypeError):
        Column(["1"])
