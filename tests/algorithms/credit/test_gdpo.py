"""GDPO: numbers by hand, what a scale does before and after mixing, and the weights that the rubric leaves on trajectories."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.algorithms.credit.credit import CreditError
from spadework.algorithms.credit.gdpo import GDPO
from spadework.algorithms.credit.grpo import GRPO
from spadework.rewards.reward import Rubric
from spadework.tasks.task import Task
from spadework.trajectories.tree import Group, Status, Trajectory

VALUES = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=6)


def scored(rows: list[tuple[float, float]], weights: tuple[float, float] = (1.0, 1.0)) -> Group:
    """Two objectives, a and b."""
    group = Group("t", [])
    for sample, (a, b) in enumerate(rows):
        trajectory = Trajectory("t", sample, status=Status.COMPLETED, rewards={"a": a, "b": b}, weights={"a": weights[0], "b": weights[1]})
        trajectory.reward = weights[0] * a + weights[1] * b
        trajectory.add("generation", [1, 2], parent=None, logprobs=[-1.0, -1.0])
        group.trajectories.append(trajectory)
    return group


def advantages(rule: GDPO | GRPO, *groups: Group) -> list[float]:
    rule.assign(groups)
    assert all(t.nodes[0].advantages[0] == t.nodes[0].advantages[1] for group in groups for t in group)
    return [trajectory.nodes[0].advantages[0] for group in groups for trajectory in group]


FIRST = [(1.0, 0.0), (0.0, 2.0), (0.0, 1.0)]


def test_by_hand() -> None:
    # a = 1, 0, 0: z = 1.154701, -.577350, -.577350. b = 0, 2, 1: z = -1, 1, 0. S = a + b / 2 = .654701, -.077350, -.577350
    # Over the batch: mean 0, variance (.428633 + .005983 + .333333) / 2 = .383975, std .619657
    expected = [1.056554, -0.124827, -0.931725]
    assert advantages(GDPO(epsilon=0), scored(FIRST, (1.0, 0.5))) == pytest.approx(expected, abs=1e-5)
    # A second group, a = 1, 1 without spread and b = 0, 4: S = -+.353553. Variance (.767949 + .25) / 4 = .254487, std .504467
    both = advantages(GDPO(epsilon=0), scored(FIRST, (1.0, 0.5)), scored([(1.0, 0.0), (1.0, 4.0)], (1.0, 0.5)))
    assert both == pytest.approx([1.297808, -0.153330, -1.144475, -0.700845, 0.700845], abs=1e-5)


def test_epsilon_by_hand() -> None:
    # a = 1, 0: +-.5 / (.707107 + 1) = +-.292893; b has no spread. S has std .414214: .292893 / 1.414214
    assert advantages(GDPO(epsilon=1), scored([(1, 0), (0, 0)])) == pytest.approx([0.207107, -0.207107], abs=1e-6)
    assert GDPO().epsilon == 1e-6


def test_mixing_first_is_grpo_normalised_over_the_batch() -> None:
    # Sums 1, 1, .5: mean .833333, std .288675; these z have mean 0 and std 1 already.
    rule = GDPO(aggregation="sum_then_normalize", epsilon=0)
    assert advantages(rule, scored(FIRST, (1.0, 0.5))) == pytest.approx([0.577350, 0.577350, -1.154701], abs=1e-6)
    assert advantages(GRPO(epsilon=0), scored(FIRST, (1.0, 0.5))) == pytest.approx([0.577350, 0.577350, -1.154701], abs=1e-6)


def test_mixtures_that_collapse_under_grpo_stay_apart() -> None:
    # The paper's example: one objective reached, or both. z = -+.707107 once or twice: S = -+.707107 and -+1.414214.
    one, two = [(0, 0), (1, 0)], [(0, 0), (1, 1)]
    mixed_first = advantages(GDPO(aggregation="sum_then_normalize"), scored(one), scored(two))
    assert mixed_first[1] == pytest.approx(mixed_first[3])
    apart = advantages(GDPO(), scored(one), scored(two))
    # Variance 2 (.5 + 2) / 3 = 5 / 3, std 1.290994
    assert apart == pytest.approx([-0.547723, 0.547723, -1.095445, 1.095445], abs=1e-5)


@given(VALUES, st.integers(1, 20), st.integers(-5, 5))
def test_the_scale_of_one_objective_changes_nothing_before_mixing(rows: list[tuple[int, int]], scale: int, shift: int) -> None:
    moved = [(a, scale * b + shift) for a, b in rows]
    assert advantages(GDPO(epsilon=0), scored(moved)) == pytest.approx(advantages(GDPO(epsilon=0), scored(rows)), abs=1e-6)


def test_the_scale_of_one_objective_decides_after_mixing() -> None:
    rule = GDPO(aggregation="sum_then_normalize", epsilon=0)
    # Sums 1, 2, 1: mean 4 / 3, std .577350. Sums 1, 20, 10: mean 31 / 3, std 9.504385
    assert advantages(rule, scored(FIRST)) == pytest.approx([-0.577350, 1.154701, -0.577350], abs=1e-6)
    scaled = advantages(rule, scored([(a, 10 * b) for a, b in FIRST]))
    assert scaled == pytest.approx([-0.982003, 1.017074, -0.035071], abs=1e-5)


@given(VALUES, st.integers(1, 9))
def test_a_common_factor_of_the_weights_changes_nothing(rows: list[tuple[int, int]], factor: int) -> None:
    more = scored(rows, (factor, 0.5 * factor))
    assert advantages(GDPO(epsilon=0), more) == pytest.approx(advantages(GDPO(epsilon=0), scored(rows, (1.0, 0.5))), abs=1e-6)


def test_an_objective_without_weight_counts_for_nothing() -> None:
    assert advantages(GDPO(epsilon=0), scored(FIRST, (1.0, 0.0))) == pytest.approx([1.154701, -0.577350, -0.577350], abs=1e-6)


def test_the_weights_are_those_of_the_schedule() -> None:
    rubric = Rubric.build({"em": {}, "format": {"weight": {"start": 1.0, "end": 0.0}}, "turn-format": {"weight": 0.0}})
    tasks = Task(id="t", question="?", answers=("x",))
    made = [Trajectory("t", sample, status=Status.COMPLETED, answer="x") for sample in range(2)]
    for progress, weight in ((0.0, 1.0), (0.25, 0.75), (1.0, 0.0)):
        rubric.score(made, tasks, progress)
        assert [t.weights for t in made] == [{"em": 1.0, "format": weight}] * 2
    made[1].status = Status.BROKEN
    rubric.score(made, tasks)
    assert made[1].weights == {}


def test_a_group_is_scored_as_one() -> None:
    GDPO().assign([])
    group = scored(FIRST)
    group.trajectories[1].weights = {"a": 1.0, "b": 0.5}
    with pytest.raises(CreditError, match="group t lacks the weights of its rewards, or has several, and gdpo mixes by them"):
        GDPO()(group)
    for trajectory in group:
        trajectory.weights = {}
    with pytest.raises(CreditError, match="group t lacks the weights"):
        GDPO()(group)
