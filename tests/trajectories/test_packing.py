"""Packs by hand, and over random forests: every policy token of every path is a target once, predicted from what stands before it."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.trajectories.packing import Pack, Sample, group_samples, make_packs, make_sample, step_samples
from spadework.trajectories.tree import Group, Status, Trajectory


def generation(trajectory: Trajectory, parent: int | None, tokens: list[int], advantage: float = 0.0) -> int:
    """A policy turn; log-probability and entropy of a token are functions of it, so that columns can be told apart."""
    node = trajectory.add(
        "generation", tokens, parent=parent, logprobs=[-t / 100 for t in tokens], entropies=[t / 10 for t in tokens], version=0
    )
    node.advantages = [advantage] * len(tokens)
    return node.id


def family() -> Group:
    """Two attempts at one task; the second branches after its first turn and ends with results that no turn follows."""
    first = Trajectory("t", 0)
    first.add("prompt", [1, 2, 3], parent=None)
    generation(first, 0, [10, 11], 0.5)
    first.add("observation", [20], parent=1)
    generation(first, 2, [12], 0.5)
    second = Trajectory("t", 1)
    second.add("prompt", [1, 2, 3], parent=None)
    generation(second, 0, [13], -0.5)
    second.add("observation", [21, 22], parent=1)
    generation(second, 2, [14], -0.25)
    generation(second, 2, [15, 16], -1.0)
    second.add("observation", [23, 24], parent=4)
    return Group("t", [first, second])


def test_a_forest_by_hand() -> None:
    [pack] = make_packs([group_samples(family())], 100)
    # prompt | first's turn, result, turn | second's turn and result | its two branches, the last result left out
    assert pack.token_ids.tolist() == [1, 2, 3, 10, 11, 20, 12, 13, 21, 22, 14, 15, 16]
    assert pack.segments == [(0, 3, None), (3, 4, 0), (7, 3, 0), (10, 1, 2), (11, 2, 2)]
    assert pack.targets.tolist() == [3, 4, 6, 7, 10, 11, 12]
    assert pack.sources.tolist() == [2, 3, 5, 2, 9, 9, 11]
    assert pack.advantages.tolist() == [0.5, 0.5, 0.5, -0.5, -0.25, -1.0, -1.0]
    assert pack.sampler_logprobs.tolist() == pytest.approx([-0.10, -0.11, -0.12, -0.13, -0.14, -0.15, -0.16])
    assert pack.entropies.tolist() == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6])
    # The turn that two branches share belongs to the first of them.
    assert pack.sequence_ids.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert pack.num_sequences == 3
    assert (pack.observations.tolist(), pack.observation_sources.tolist()) == ([5, 8, 9], [4, 7, 8])


def test_a_fork_by_hand() -> None:
    first = Trajectory("t", 4, reward=1.0)
    first.add("prompt", [1, 2], parent=None)
    generation(first, 0, [10, 11])
    second = first.fork(1, sample=7)
    second.reward = -1.0
    generation(first, 1, [12])
    generation(second, 1, [13, 14])
    third = second.fork(2, sample=9)  # a fork of a fork: the copies of 10, 11 name the first
    assert [node.shared_with for node in third.nodes] == [(4, 0), (4, 1), (7, 2)]
    generation(third, 2, [15])
    for trajectory, advantage in ((first, 0.5), (second, -1.0), (third, 0.25)):
        trajectory.set_advantage(advantage)
    third.nodes[1].values, third.nodes[1].returns = [1.0, 2.0], [3.0, 4.0]
    [pack] = make_packs([group_samples(Group("t", [first, second, third]))], 100)
    assert pack.token_ids.tolist() == [1, 2, 10, 11, 12, 13, 14, 15]
    # second ends where third goes on; 10, 11 are targets in all three sequences, 13, 14 in two.
    assert pack.targets.tolist() == [2, 3, 2, 3, 2, 3, 4, 5, 6, 5, 6, 7]
    assert pack.sources.tolist() == [1, 2, 1, 2, 1, 2, 3, 3, 5, 3, 5, 6]
    assert pack.sequence_ids.tolist() == [0, 0, 1, 1, 2, 2, 0, 1, 1, 2, 2, 2]
    assert pack.advantages.tolist() == [0.5, 0.5, -1, -1, 0.25, 0.25, 0.5, -1, -1, 0.25, 0.25, 0.25]
    assert pack.rewards.tolist() == [1, 1, -1, -1, 0, 0, 1, -1, -1, 0, 0, 0]
    assert pack.values.tolist() == [0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0]
    assert pack.returns.tolist() == [0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0]
    assert pack.observations.tolist() == []
    # Without the trajectory that sampled them, the copies still share; what is kept for the baseline only is left out.
    first.status, second.meta["train"] = Status.BROKEN, True
    [pack] = make_packs([group_samples(Group("t", [first, second, third]))], 100)
    assert pack.token_ids.tolist() == [1, 2, 10, 11, 13, 14, 15] and len(pack.targets) == 9
    second.meta["train"] = False
    [pack] = make_packs([group_samples(Group("t", [first, second, third]))], 100)
    assert pack.token_ids.tolist() == [1, 2, 10, 11, 13, 14, 15] and len(pack.targets) == 5 and pack.num_sequences == 1


def test_observations_that_forks_share_count_in_each() -> None:
    first = Trajectory("t", 0)
    first.add("prompt", [1], parent=None)
    generation(first, 0, [10])
    first.add("observation", [20, 21], parent=1)
    second = first.fork(2, sample=1)
    generation(first, 2, [11])
    generation(second, 2, [12])
    group = Group("t", [first, second])
    [pack] = make_packs([group_samples(group)], 100)
    assert pack.token_ids.tolist() == [1, 10, 20, 21, 11, 12]
    assert (pack.observations.tolist(), pack.observation_sources.tolist()) == ([2, 3, 2, 3], [1, 2, 1, 2])
    # Split, every node's tokens are still predicted once.
    assert [len(pack.observations) for pack in make_packs([group_samples(group)], 1)] == [2, 2]
    second.meta["train"] = False
    [pack] = make_packs([group_samples(group)], 100)
    assert pack.observations.tolist() == [2, 3]


def test_broken_trajectories_are_left_out() -> None:
    group = family()
    group.trajectories[0].status = Status.BROKEN
    [pack] = make_packs([group_samples(group)], 100)
    assert 10 not in pack.token_ids and pack.num_sequences == 2
    group.trajectories[1].status = Status.BROKEN
    assert group_samples(group) == [] and make_packs([group_samples(group)], 100) == []


def test_a_trajectory_without_a_turn_gives_nothing() -> None:
    trajectory = Trajectory("t")
    trajectory.add("prompt", [1, 2], parent=None)
    assert group_samples(Group("t", [trajectory])) == []


def test_a_path_within_another_is_a_sequence_of_its_own() -> None:
    # The turn 5 ends one path (its result was the last) and begins another.
    trajectory = Trajectory("t")
    trajectory.add("prompt", [1], parent=None)
    turn = generation(trajectory, 0, [5])
    trajectory.add("observation", [9], parent=turn)
    generation(trajectory, turn, [6])
    [pack] = make_packs([group_samples(Group("t", [trajectory]))], 100)
    assert pack.token_ids.tolist() == [1, 5, 6]
    assert pack.targets.tolist() == [1, 2] and pack.sources.tolist() == [0, 1]


def test_a_sample_of_plain_tokens() -> None:
    [pack] = make_packs([[make_sample([7, 8, 9, 7], [True, False, True, True])]], 100)
    assert pack.segments == [(0, 4, None)]
    # The first token is predicted from nothing, so it can not be a target.
    assert (pack.targets.tolist(), pack.sources.tolist(), pack.advantages.tolist()) == ([2, 3], [1, 2], [1.0, 1.0])


def test_equal_tokens_of_different_families_are_not_shared() -> None:
    ids, mask = [1, 2, 3], [False, True, True]
    [pack] = make_packs([[make_sample(ids, mask)], [make_sample(ids, mask)]], 100)
    assert pack.token_ids.tolist() == ids * 2 and pack.num_sequences == 2 and len(pack.targets) == 4


def test_the_budget() -> None:
    def plain(length: int) -> list[Sample]:
        return [make_sample([length] * length, [False] + [True] * (length - 1))]

    packs = make_packs([plain(n) for n in (5, 3, 4, 30, 2)], 10)
    # Families go by length: 2 + 3 + 4, then 5, then what alone exceeds the budget.
    assert [len(pack.token_ids) for pack in packs] == [9, 5, 30]
    # A group that exceeds it alone is split, and its prompt is repeated.
    group = group_samples(family())
    assert [pack.token_ids.tolist() for pack in make_packs([group], 9)] == [
        [1, 2, 3, 10, 11, 20, 12],
        [1, 2, 3, 13, 21, 22, 14, 15, 16],
    ]
    split = make_packs([group], 1)
    assert [len(pack.token_ids) for pack in split] == [7, 7, 8]
    # The second attempt's first turn, 13, stands in two packs and is trained in one.
    assert [pack.token_ids[pack.targets].tolist() for pack in split] == [[10, 11, 12], [13, 14], [15, 16]]


# Random forests


def random_group(seed: int, first: int = 100) -> Group:
    """Tokens are unique, but for the prompt that trajectories share, so that a token names its place."""
    stream, counter = random.Random(seed), iter(range(first, 10**6))

    def fresh(most: int = 4) -> list[int]:
        return [next(counter) for _ in range(stream.randint(1, most))]

    prompt = fresh()
    group = Group("t", [])
    for sample in range(stream.randint(1, 4)):
        trajectory = Trajectory("t", sample)
        trajectory.add("prompt", prompt if stream.random() < 0.8 else fresh(), parent=None)
        for _ in range(stream.randint(0, 9)):
            parent = stream.randrange(len(trajectory.nodes))
            kind = stream.choice(("generation", "generation", "observation", "root"))
            if kind == "generation":
                generation(trajectory, parent, fresh(), stream.random())
            elif kind == "observation":
                trajectory.add("observation", fresh(), parent=parent)
            else:
                trajectory.add("prompt", fresh(), parent=None, derived_from=parent)
        if stream.random() < 0.2:
            trajectory.status = Status.BROKEN
        group.trajectories.append(trajectory)
    return group


def predictions(pack: Pack) -> list[tuple[int, int]]:
    """(token, token it is predicted from) of every target."""
    return [(int(pack.token_ids[t]), int(pack.token_ids[s])) for t, s in zip(pack.targets, pack.sources, strict=True)]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=3, unique=True), st.sampled_from([1, 15, 40, 10**6]))
def test_every_policy_token_is_a_target_and_nothing_else(seeds: list[int], max_tokens: int) -> None:
    groups = [random_group(seed, 1000 * (1 + number)) for number, seed in enumerate(seeds)]
    families = [group_samples(group) for group in groups]
    packs = make_packs(families, max_tokens)
    expected: list[tuple[int, int, float]] = []
    for group in groups:
        for trajectory in group:
            if trajectory.status is Status.BROKEN:
                continue
            for node in trajectory.generations():
                assert node.parent is not None
                before = [trajectory.token_ids(node.parent)[-1], *node.token_ids]
                expected += [(t, before[i], node.advantages[i]) for i, t in enumerate(node.token_ids)]
    found = [(*pair, float(a)) for pack in packs for pair, a in zip(predictions(pack), pack.advantages, strict=True)]
    # Once each, also where a family had to be split and its trunk stands in several packs.
    assert sorted((t, s) for t, s, _ in found) == sorted((t, s) for t, s, _ in expected)
    advantages = {t: a for t, _, a in expected}
    assert all(a == pytest.approx(advantages[t]) for t, _, a in found)
    assert sum(pack.num_sequences for pack in packs) == sum(map(len, families))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=3, unique=True), st.sampled_from([1, 15, 40, 10**6]))
def test_a_policy_token_has_one_number_however_it_is_packed(seeds: list[int], max_tokens: int) -> None:
    groups = [random_group(seed, 1000 * (1 + number)) for number, seed in enumerate(seeds)]
    trained = [trajectory for group in groups for trajectory in group if trajectory.trained]
    in_order = [token for trajectory in trained for node in trajectory.generations() for token in node.token_ids]
    packs = make_packs(step_samples(groups), max_tokens)
    numbers = [number for pack in packs for number in pack.numbers.tolist()]
    assert [in_order[number] for number in numbers] == [token for pack in packs for token in pack.token_ids[pack.targets]]
    assert sorted(numbers) == list(range(len(in_order)))


def test_numbers_by_hand() -> None:
    # The first token of a root is no target, and keeps its number; a fork's copies have numbers of their own.
    alone = Trajectory("u")
    generation(alone, None, [10, 11])
    first = Trajectory("t", 0)
    first.add("prompt", [1, 2], parent=None)
    generation(first, 0, [20, 21])
    fork = first.fork(1, sample=1)
    generation(fork, 1, [22])
    [pack] = make_packs(step_samples([Group("u", [alone]), Group("t", [first, fork])]), 100)
    found = sorted(zip(pack.numbers.tolist(), pack.token_ids[pack.targets].tolist(), strict=True))
    assert found == [(1, 11), (2, 20), (3, 21), (4, 20), (5, 21), (6, 22)]


@given(st.integers(0, 10**6), st.sampled_from([1, 15, 40]))
def test_a_pack_is_a_forest_within_the_budget(seed: int, max_tokens: int) -> None:
    samples = group_samples(random_group(seed))
    for pack in make_packs([samples], max_tokens):
        assert len(pack.token_ids) <= max(max_tokens, max(len(sample) for sample in samples))
        assert sum(length for _, length, _ in pack.segments) == len(pack.token_ids)
        end = 0
        for number, (start, length, parent) in enumerate(pack.segments):
            assert start == end and length > 0 and (parent is None or parent < number)
            end = start + length
        assert (pack.sources < pack.targets).all() and len(set(pack.targets.tolist())) == len(pack.targets)
        assert pack.sequence_ids.max(initial=-1) < pack.num_sequences
        for column in (pack.sources, pack.advantages, pack.sampler_logprobs, pack.entropies, pack.sequence_ids):
            assert len(column) == len(pack.targets)
        sampled = np.array([-t / 100 for t in pack.token_ids[pack.targets]])
        assert pack.sampler_logprobs == pytest.approx(sampled, rel=1e-4)
