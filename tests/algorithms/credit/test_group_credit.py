"""GRPO and Dr.GRPO: numbers by hand, invariances, and what is left out."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.algorithms.credit.credit import CreditError, CreditRule, baseline, credit_rules
from spadework.algorithms.credit.dr_grpo import DrGRPO
from spadework.algorithms.credit.grpo import GRPO
from spadework.trajectories.tree import Group, Status, Trajectory

REWARDS = st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=8)


def scored(*rewards: float, broken: tuple[int, ...] = ()) -> Group:
    trajectories = []
    for index, reward in enumerate(rewards):
        trajectory = Trajectory("t", sample=index, reward=reward, status=Status.BROKEN if index in broken else Status.COMPLETED)
        trajectory.add("prompt", [1, 2], parent=None)
        trajectory.add("generation", [3, 4], parent=0, logprobs=[-1.0, -2.0])
        trajectory.add("observation", [5], parent=1)
        trajectory.add("generation", [6], parent=2, logprobs=[-1.0])
        trajectories.append(trajectory)
    return Group("t", trajectories)


def per_trajectory(rule: CreditRule, group: Group) -> list[float]:
    rule(group)
    return [trajectory.nodes[1].advantages[0] for trajectory in group]


def test_grpo_by_hand() -> None:
    # R = 1, 0, 0, 1: mean .5, sample std sqrt(4 * .25 / 3) = .57735; A = +-.5 / .57735 = +-.866025
    assert per_trajectory(GRPO(epsilon=0), scored(1, 0, 0, 1)) == pytest.approx([0.866025, -0.866025, -0.866025, 0.866025], abs=1e-6)
    # R = 3, 0: mean 1.5, std sqrt(4.5) = 2.12132; A = +-.707107, and epsilon 1 gives +-1.5 / 3.12132 = +-.480566
    assert per_trajectory(GRPO(epsilon=0), scored(3, 0)) == pytest.approx([0.707107, -0.707107], abs=1e-6)
    assert per_trajectory(GRPO(epsilon=1), scored(3, 0)) == pytest.approx([0.480566, -0.480566], abs=1e-6)


def test_dr_grpo_by_hand() -> None:
    # R = 1, 0, .5: mean .5
    assert per_trajectory(DrGRPO(), scored(1, 0, 0.5)) == pytest.approx([0.5, -0.5, 0])


def test_every_sampled_token_gets_it_and_no_other() -> None:
    group = scored(1, 0)
    DrGRPO()(group)
    assert [node.advantages for node in group.trajectories[0].nodes] == [[0, 0], [0.5, 0.5], [0], [0.5]]


@pytest.mark.parametrize("rule", [GRPO(), DrGRPO()])
def test_broken_members_have_no_part_in_it(rule: CreditRule) -> None:
    group = scored(1, 0, -5, broken=(2,))
    group.trajectories[2].set_advantage(9.0)  # left from an earlier run
    rule(group)
    without = scored(1, 0)
    rule(without)
    assert [t.nodes[1].advantages for t in group.trajectories[:2]] == [t.nodes[1].advantages for t in without]
    assert all(node.advantages == [] for node in group.trajectories[2].nodes)


@pytest.mark.parametrize("rule", [GRPO(), DrGRPO()])
@pytest.mark.parametrize("group", [scored(1), scored(1, 0, broken=(1,)), scored()])
def test_a_group_of_one_is_refused(rule: CreditRule, group: Group) -> None:
    with pytest.raises(CreditError, match="at least two trajectories"):
        rule(group)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1 + 0.2, 1e6])
def test_equal_rewards_give_nothing(value: float) -> None:
    # .3 and .1 + .2 differ by rounding; dividing by their tiny deviation would make +-1 of it
    almost = math.nextafter(value, math.inf)
    for group in (scored(value, value, value), scored(value, almost, value)):
        assert per_trajectory(GRPO(epsilon=0), group) == [0, 0, 0]


@given(REWARDS)
def test_advantages_sum_to_zero(rewards: list[float]) -> None:
    for rule in (GRPO(), DrGRPO()):
        assert sum(per_trajectory(rule, scored(*rewards))) == pytest.approx(0, abs=1e-9)


@given(REWARDS, st.floats(0.5, 20), st.floats(-5, 5))
def test_grpo_ignores_shift_and_scale(rewards: list[float], scale: float, shift: float) -> None:
    plain = per_trajectory(GRPO(epsilon=0), scored(*rewards))
    moved = per_trajectory(GRPO(epsilon=0), scored(*(scale * reward + shift for reward in rewards)))
    assert moved == pytest.approx(plain, abs=1e-6)


@given(REWARDS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(rewards: list[float], shuffler: random.Random) -> None:
    order = list(range(len(rewards)))
    shuffler.shuffle(order)
    plain = per_trajectory(GRPO(), scored(*rewards))
    shuffled = per_trajectory(GRPO(), scored(*(rewards[i] for i in order)))
    assert shuffled == pytest.approx([plain[i] for i in order], abs=1e-9)


@given(REWARDS)
def test_dr_grpo_is_leave_one_out_up_to_a_factor(rewards: list[float]) -> None:
    # R_i - mean of the others = (R_i - mean) * G / (G - 1)
    count = len(rewards)
    for advantage, reward in zip(per_trajectory(DrGRPO(), scored(*rewards)), rewards, strict=True):
        others = (sum(rewards) - reward) / (count - 1)
        assert advantage * count / (count - 1) == pytest.approx(reward - others, abs=1e-9)


def test_the_baseline_is_the_sample_deviation() -> None:
    # 0, 1, 2: deviations -1, 0, 1; (1 + 0 + 1) / 2 = 1
    assert baseline(scored(0, 1, 2)) == (1.0, 1.0)


def test_rules_are_found_by_name() -> None:
    assert credit_rules.build("grpo", {"epsilon": 0.5}) == GRPO(epsilon=0.5)
    assert credit_rules.build("dr-grpo") == DrGRPO()
