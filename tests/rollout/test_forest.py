"""Forests of every strategy: paths are paths, shared nodes are the same, counts add up, and neither timing nor failures change them."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spadework.algorithms.credit.arpo import ARPO as ARPOCredit
from spadework.algorithms.credit.tree_grpo import TreeGRPO
from spadework.algorithms.selection.chain import Chain
from spadework.core.errors import ConfigError
from spadework.core.seeds import derive_seed
from spadework.rollout.driver import Limits
from spadework.rollout.forest import forest_metrics
from spadework.rollout.strategies.aepo import AEPO
from spadework.rollout.strategies.arpo import ARPO
from spadework.rollout.strategies.independent import Independent
from spadework.rollout.strategies.tree import Tree
from spadework.rollout.strategy import Strategy, strategies
from spadework.trajectories.packing import group_samples, make_packs
from spadework.trajectories.tree import Group, Status, Trajectory

Make, Sample = Callable[..., Any], Callable[..., list[Group]]
EVERY = [
    (Independent(), 6),
    (ARPO(), 6),
    (ARPO(alpha=0.9, initial_rollouts=1, beam_size=4), 9),
    (AEPO(alpha=0.8), 8),
    (Tree(), 6),
    (Tree(nodes=3, rounds=2), 7),
]


def content(groups: list[Group]) -> list[Any]:
    def nodes(t: Trajectory) -> list[Any]:
        return [(node.token_ids, node.shared_with, node.meta.get("entropy_jump")) for node in t.nodes]

    return [[(t.sample, t.status, t.answer, t.error, nodes(t)) for t in group] for group in groups]


def check(group: Group, num_samples: int) -> None:
    """What holds of every forest."""
    assert [t.sample for t in group] == list(range(num_samples))
    for t in group:
        assert t.status is not Status.RUNNING
        assert [(node.id, node.parent) for node in t.nodes] == [(0, None), *((number, number - 1) for number in range(1, len(t.nodes)))]
        assert [node.kind for node in t.nodes] == ["prompt", *["generation", "observation"] * len(t.nodes)][: len(t.nodes)]
        shared = [node for node in t.nodes if node.shared_with is not None]
        assert shared == t.nodes[: len(shared)], "a prefix"
        assert not shared or shared[-1].kind in ("prompt", "observation")
        for node in shared:
            assert node.shared_with is not None
            number, there = node.shared_with
            origin = group.trajectories[number].nodes[there]
            assert number < t.sample and origin.shared_with is None
            for name in ("id", "kind", "token_ids", "mask", "logprobs", "entropies", "messages", "role", "version"):
                assert getattr(node, name) == getattr(origin, name), name
        assert t.ledger["tokens"] == t.num_sampled


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), which=st.integers(0, len(EVERY) - 1))
def test_every_forest(unsure: Make, sample: Sample, seed: int, which: int) -> None:
    strategy, num_samples = EVERY[which]
    engine = unsure()
    groups = sample(engine, strategy, num_samples, tasks=2, seed=seed)
    calls = 0
    for group in groups:
        check(group, num_samples)
        for t in group:
            made = [len(node.meta["calls"]) for node in t.nodes if node.kind == "observation"]
            assert t.ledger["calls"] == t.ledger.get("calls/search", 0.0) == sum(made)
            calls += sum(len(node.meta["calls"]) for node in t.nodes if node.kind == "observation" and node.shared_with is None)
            # Seeds are those of (task, sample, turn): of the turns that this trajectory sampled itself.
            own = [derive_seed(seed, t.task_id, t.sample, turn) for turn, node in enumerate(t.generations()) if node.shared_with is None]
            assert [request.seed for request in engine.requests if request.label == f"{t.task_id}/{t.sample}"] == own
    metrics = forest_metrics(groups)
    every = [t for group in groups for t in group]
    assert metrics["rollout/tokens"] == engine.sampled and metrics["rollout/calls"] == calls
    assert metrics["rollout/shared_tokens"] == sum(t.ledger["tokens"] for t in every) - engine.sampled
    assert metrics["rollout/forked"] == sum(t.nodes[0].shared_with is not None for t in every) / len(every)
    assert (metrics["rollout/forked"] > 0) <= strategy.forks


@pytest.mark.parametrize(("strategy", "num_samples"), EVERY, ids=lambda value: type(value).__name__)
def test_the_forest_does_not_depend_on_concurrency(unsure: Make, sample: Sample, strategy: Strategy, num_samples: int) -> None:
    first, *others = [content(sample(unsure(), strategy, num_samples, tasks=3, concurrency=count)) for count in (1, 3, 64)]
    assert all(other == first for other in others)
    assert content(sample(unsure(), strategy, num_samples, tasks=3, seed=2)) != first
    assert content(sample(unsure(), strategy, num_samples, tasks=1)) == first[:1], "nor on the other tasks"


def test_trees(unsure: Make, sample: Sample) -> None:
    # Two searches and an answer: a tree's first path has the nodes 0 (question), 2 and 4 (results) to go on from.
    [group] = sample(unsure(searches=2), Tree(nodes=3, rounds=1), 8)
    points = [[node.shared_with for node in t.nodes if node.shared_with][-1] for t in group.trajectories[2:]]
    trees = [set(points[:3]), set(points[3:])]
    assert trees == [{(0, 0), (0, 2), (0, 4)}, {(1, 0), (1, 2), (1, 4)}]
    # Nothing but the question to expand: four forks of it.
    [group] = sample(unsure(searches=0), Tree(nodes=4), 5)
    assert [t.nodes[0].shared_with for t in group] == [None, *[(0, 0)] * 4] and len({t.answer for t in group}) == 5
    # The second round can choose nodes that the first has made.
    [group] = sample(unsure(searches=4), Tree(nodes=1, rounds=12), 13, limits=Limits(max_turns=8))
    assert any(node.shared_with and node.shared_with[0] > 0 for t in group for node in t.nodes)
    for number, t in enumerate(group):
        t.reward = float(number % 2)
    TreeGRPO()(group)
    assert all(t.nodes[-1].advantages for t in group)


def test_a_result_that_nothing_followed_is_no_node_to_expand(unsure: Make, sample: Sample) -> None:
    # One turn is all there is, so the path ends at its result: a fork there would be the same trajectory again.
    [group] = sample(unsure(searches=3), Tree(nodes=2), 3, limits=Limits(max_turns=1))
    assert [[node.shared_with for node in t.nodes] for t in group] == [[None] * 3, [(0, 0), None, None], [(0, 0), None, None]]


def test_forks_of_a_broken_trunk(unsure: Make, sample: Sample, broken: Exception) -> None:
    # 0 breaks at its third turn, when 2 has already gone on from its first result; 3 is a fork of 1.
    engine = unsure(searches=3, failing={"t0/0": (2, broken)})
    [group] = sample(engine, ARPO(initial_rollouts=2, alpha=1.0, beta=0.0), 4)
    check(group, 4)
    assert [t.status for t in group] == [Status.BROKEN, *[Status.COMPLETED] * 3]
    assert group.trajectories[2].nodes[2].shared_with == (0, 2) and group.trajectories[2].ledger["calls"] == 3
    assert forest_metrics([group])["rollout/calls"] == sum(t.ledger["calls"] for t in group) - 2
    for rewards in ([0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]):
        for t, reward in zip(group, rewards, strict=True):
            t.reward = reward
        [kept], _ = Chain.build({"broken": {}}, source="test").count([group], seed=0)
        for credit in (ARPOCredit(attribution="hard"), ARPOCredit(), TreeGRPO()):
            credit(kept)
            [pack] = make_packs([group_samples(kept)], 10_000)
            assert pack.num_sequences == 3 and len(pack.targets) == sum(t.num_sampled for t in group.trajectories[1:])


def test_everything_broken_ends(unsure: Make, sample: Sample, broken: Exception) -> None:
    failing = {f"t0/{number}": (0, broken) for number in range(6)}
    for strategy in (ARPO(alpha=1.0), AEPO(alpha=1.0), Tree()):
        [group] = sample(unsure(failing=failing), strategy, 6)
        check(group, 6)
        assert {t.status for t in group} == {Status.BROKEN}


def test_a_bug_in_a_fork_stops_the_rollout_and_leaves_nothing_running(unsure: Make, sample: Sample) -> None:
    for strategy in (ARPO(initial_rollouts=2, alpha=1.0, beta=0.0), Tree()):
        engine = unsure(searches=2, failing=dict.fromkeys(("t1/2", "t2/2"), (2, ZeroDivisionError())))
        with pytest.raises(ZeroDivisionError):
            sample(engine, strategy, 6, tasks=3)
        assert engine.running == 0


def test_numbers_of_samples_that_cannot_be_made() -> None:
    with pytest.raises(ConfigError, match=r"tree: 8 samples are no whole number of trees .* = 3 paths; set rl\.samples to 6 or 9"):
        Tree().check(8)
    with pytest.raises(ConfigError, match=r"set rl\.samples to 5, or change"):
        Tree(nodes=4).check(2)
    with pytest.raises(ConfigError, match="arpo: 8 of 8 samples start from the root, so nothing can branch; lower initial_rollouts"):
        ARPO(initial_rollouts=8).check(8)
    for strategy, num_samples in EVERY:
        strategy.check(num_samples)
    assert strategies.names() == ["aepo", "arpo", "independent", "tree"]


def test_what_forks() -> None:
    assert [name for name in strategies.names() if strategies.get(name).forks] == ["aepo", "arpo", "tree"]
