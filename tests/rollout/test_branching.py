"""Where paths branch: the decision with numbers by hand, and who gets the budget."""

from collections.abc import Callable
from typing import Any

import pytest

from spadework.rollout.branching import entropy_jump
from spadework.rollout.driver import Limits
from spadework.rollout.strategies.aepo import AEPO
from spadework.rollout.strategies.arpo import ARPO
from spadework.trajectories.tree import Group, Status, Trajectory

Make, Sample = Callable[..., Any], Callable[..., list[Group]]
CERTAIN = {"alpha": 1.0, "beta": 0.0}


def origins(group: Group) -> list[tuple[int, int]]:
    """Per trajectory the sample and the node that its last shared node is a copy of; (itself, -1) for a root."""
    shared = [[node.shared_with for node in trajectory.nodes if node.shared_with is not None] for trajectory in group]
    return [nodes[-1] if nodes else (trajectory.sample, -1) for trajectory, nodes in zip(group, shared, strict=True)]


def test_the_jump_by_hand() -> None:
    trajectory = Trajectory("t")
    trajectory.add("prompt", [1], parent=None)
    trajectory.add("generation", [2, 3, 4], parent=0, logprobs=[-1.0] * 3, entropies=[1.0, 0.5, 0.5])
    trajectory.add("observation", [5], parent=1)
    trajectory.add("generation", [6, 7], parent=2, logprobs=[-1.0] * 2, entropies=[2.0, 1.0])
    # (2 - 1 + 1 - .5) / log 8 = 1.5 / 2.079442; the first turn's third token has no counterpart.
    jump = entropy_jump(trajectory.path(3), 20, 8)
    assert jump == pytest.approx(0.721348, abs=1e-6)
    assert entropy_jump(trajectory.path(3), 1, 8) == pytest.approx(0.480898, abs=1e-6)
    assert entropy_jump(trajectory.path(1), 20, 8) == 0
    # .5 + .2 * .721348; times 1 - .05 * 2 after two branchings in a row
    assert ARPO().probability(jump, 2) == pytest.approx(0.644270, abs=1e-6)
    assert AEPO().probability(jump, 0) == pytest.approx(0.644270, abs=1e-6)
    assert AEPO().probability(jump, 2) == pytest.approx(0.579843, abs=1e-6)
    assert AEPO(penalty=0.5).probability(jump, 3) == 0


def test_a_certain_branch(unsure: Make, sample: Sample) -> None:
    # One search, then an answer: 0 and 1 fork at their result (node 2). Those forks have no result of their own, so 4 is a root.
    [group] = sample(unsure(searches=1), ARPO(initial_rollouts=2, **CERTAIN), 5)
    assert origins(group) == [(0, -1), (1, -1), (0, 2), (1, 2), (4, -1)]
    # Z = 3: two forks at once, and the budget ends in the middle.
    [group] = sample(unsure(searches=1), ARPO(initial_rollouts=2, beam_size=3, **CERTAIN), 5)
    assert origins(group) == [(0, -1), (1, -1), (0, 2), (0, 2), (1, 2)]
    assert all(t.status is Status.COMPLETED for t in group) and len({t.answer for t in group}) == 5


def test_no_branch_leaves_roots(unsure: Make, sample: Sample) -> None:
    [group] = sample(unsure(searches=2), ARPO(alpha=0.0, beta=0.0), 6)
    assert origins(group) == [(number, -1) for number in range(6)]
    assert [t.num_turns for t in group] == [3] * 6
    # Only the first half was asked; the jumps are recorded all the same.
    assert [["entropy_jump" in node.meta for node in t.generations()] for t in group] == [[False, True, True]] * 3 + [[False] * 3] * 3


def test_forks_branch_at_results_of_their_own(unsure: Make, sample: Sample) -> None:
    # Two searches. Round 2: 0 has a turn after its first result and forks there: 1. Round 3: 0 after its second result: 2; 1 has made its
    # first own turn. Round 4: 1 after the result of its own, node 4 of it: 3. 2 answered at once; 4 is a root.
    [group] = sample(unsure(searches=2), ARPO(initial_rollouts=1, **CERTAIN), 5)
    assert origins(group) == [(0, -1), (0, 2), (0, 4), (1, 4), (4, -1)]
    assert [node.shared_with for node in group.trajectories[3].nodes] == [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), None]


def test_entropy_decides(unsure: Make, sample: Sample) -> None:
    # alpha = .5 and a large beta: a path forks where the entropy has risen and nowhere else.
    [group] = sample(unsure(), ARPO(initial_rollouts=8, beta=1e9), 64, limits=Limits(max_turns=3))
    assert origins(group)[-1] == (63, -1), "there was budget left for every fork"
    forked = set(origins(group))
    own = [(t.sample, turn) for t in group for turn in t.generations() if turn.shared_with is None and "entropy_jump" in turn.meta]
    assert {turn.meta["entropy_jump"] > 0 for _, turn in own} == {True, False}
    for number, turn in own:
        assert ((number, turn.parent) in forked) == (turn.meta["entropy_jump"] > 0)


def test_a_penalty_for_branching_in_a_row(unsure: Make, sample: Sample) -> None:
    # Penalty 1: a branching makes the next impossible.
    strategy = AEPO(alpha=1.0, gamma=0.0, beta=0.0, penalty=1.0)
    [group] = sample(unsure(searches=4), strategy, 3)
    # k = 3: floor(3 / 2) + 1 = 2 roots, which fork at their first result; the third sample is 0's fork.
    assert origins(group) == [(0, -1), (1, -1), (0, 2)]
    [group] = sample(unsure(searches=4), strategy, 14)
    # 8 roots: 8 forks are wanted at the first result (node 2), 6 are left. Without any left, no later result is asked.
    assert origins(group)[8:] == [(number, 2) for number in range(6)]

    class OneRoot(AEPO):
        def split(self, jump: float, num_samples: int) -> int:
            return 1

    [group] = sample(unsure(searches=4), OneRoot(alpha=1.0, gamma=0.0, penalty=1.0), 4)
    # 0 forks after result 1 (1), not after 2 (node 4), after 3 (node 6: 2). 1 has its first own result at node 4: a branching came just
    # before, so none; then at node 6: 3.
    assert origins(group) == [(0, -1), (0, 2), (0, 6), (1, 6)]


def test_the_split_of_aepo() -> None:
    # k = 16: 16 / 2 = 8; 16 / (1 + e^.5) = 6.04; 16 / (1 + e^-.5) = 9.96; at most all. Rounded down, and one more.
    assert [AEPO().split(jump, 16) for jump in (0.0, 1.0, -1.0, -20.0, 20.0)] == [9, 7, 10, 16, 1]


def test_aepo_keeps_what_it_monitored(unsure: Make, sample: Sample) -> None:
    engine = unsure(searches=2)
    [group] = sample(engine, AEPO(alpha=1.0), 6)
    assert len(engine.requests) == sum(node.shared_with is None for t in group for node in t.generations())
    assert 0 in {number for number, _ in origins(group)[1:]}, "the first trajectory branches too"
