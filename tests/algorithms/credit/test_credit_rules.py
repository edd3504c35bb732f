"""Every rule by hand, on groups small enough to do so; then identities between rules."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.algorithms.credit.arpo import ARPO
from spadework.algorithms.credit.batch_std import BatchStd
from spadework.algorithms.credit.broadcast import Broadcast
from spadework.algorithms.credit.credit import CreditError, CreditRule, credit_rules
from spadework.algorithms.credit.dr_grpo import DrGRPO
from spadework.algorithms.credit.entropy_aware import EntropyAware
from spadework.algorithms.credit.gae import GAE
from spadework.algorithms.credit.gigpo import GiGPO
from spadework.algorithms.credit.grpo import GRPO
from spadework.algorithms.credit.kimi import Kimi
from spadework.algorithms.credit.mt_grpo import MTGRPO
from spadework.algorithms.credit.reinforce_pp import ReinforcePP
from spadework.algorithms.credit.reinforce_pp_baseline import ReinforcePPBaseline
from spadework.algorithms.credit.rloo import RLOO
from spadework.algorithms.credit.roles import Roles
from spadework.algorithms.credit.sfr_dr import SFRDR
from spadework.algorithms.credit.step_returns import StepReturns
from spadework.algorithms.credit.tree_grpo import TreeGRPO
from spadework.core.errors import ConfigError
from spadework.trajectories.tree import Group, Node, Status, Trajectory

REWARDS = st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=6)


def attempt(sample: int, reward: float, sizes: Sequence[int] = (1,), turn_rewards: Sequence[float] = ()) -> Trajectory:
    """Turns of these sizes with a result between any two."""
    trajectory = Trajectory("t", sample=sample, reward=reward, status=Status.COMPLETED)
    trajectory.add("prompt", [1, 2], parent=None)
    for index, size in enumerate(sizes):
        node = trajectory.add("generation", [7 + index] * size, parent=len(trajectory.nodes) - 1, logprobs=[-1.0] * size)
        if turn_rewards:
            node.rewards, node.reward = {"step": turn_rewards[index]}, turn_rewards[index]
        if index + 1 < len(sizes):
            trajectory.add("observation", [100 * sample + index] * 3, parent=node.id)
    return trajectory


def plain(*rewards: float) -> Group:
    return Group("t", [attempt(sample, reward) for sample, reward in enumerate(rewards)])


def turns(rule: CreditRule, *groups: Group) -> list[list[float]]:
    """Advantage of every turn of every trajectory; all tokens of a turn must have it, and no other token any."""
    rule.assign(groups)
    found = []
    for trajectory in (t for group in groups for t in group):
        found.append([node.advantages[0] for node in trajectory.generations()])
        for node in trajectory.nodes:
            assert node.advantages == ([node.advantages[0]] if node.kind == "generation" else [0.0]) * len(node.token_ids)
    return found


def tokens(trajectory: Trajectory) -> list[float]:
    return [value for node in trajectory.generations() for value in node.advantages]


def flat(values: Sequence[Sequence[float]]) -> list[float]:
    return [value for row in values for value in row]


# One advantage per trajectory


def test_rloo() -> None:
    # R = 3, 1, 2: 3 - 1.5, 1 - 2.5, 2 - 2
    assert flat(turns(RLOO(), plain(3, 1, 2))) == pytest.approx([1.5, -1.5, 0])


def test_batch_std() -> None:
    # R = 1, 0 and 3, 2: group means .5, 2.5; all four: mean 1.5, variance (.25 + 2.25 + 2.25 + .25) / 3 = 5 / 3, std 1.290994
    expected = [0.5 / 1.290994, -0.5 / 1.290994, 0.5 / 1.290994, -0.5 / 1.290994]
    assert flat(turns(BatchStd(epsilon=0), plain(1, 0), plain(3, 2))) == pytest.approx(expected, abs=1e-6)
    assert flat(turns(BatchStd(epsilon=1), plain(3, 0))) == pytest.approx([1.5 / 3.121320, -1.5 / 3.121320], abs=1e-6)
    assert flat(turns(BatchStd(), plain(1, 1), plain(1, 1))) == [0] * 4
    BatchStd().assign([])


def test_sfr_dr() -> None:
    # R = 1, 0: mean .5, sample std .707107, z = +-.707107; T = 2, 4
    group = Group("t", [attempt(0, 1, (1, 2)), attempt(1, 0, (1, 1, 1, 1))])
    assert turns(SFRDR(epsilon=0), group) == [pytest.approx([0.353553] * 2, abs=1e-6), pytest.approx([-0.176777] * 4, abs=1e-6)]
    # epsilon stands inside the product: .5 / ((.707107 + 1) * 2)
    assert turns(SFRDR(epsilon=1), group)[0] == pytest.approx([0.146447] * 2, abs=1e-6)


def test_reinforce_pp() -> None:
    # 1 token of return 1, 3 tokens of return 0: mean .25, variance (.5625 + 3 * .0625) / 3 = .25, std .5
    group = Group("t", [attempt(0, 1.0), attempt(1, 0.0, (3,))])
    assert turns(ReinforcePP(), group) == [[pytest.approx(1.5)], [pytest.approx(-0.5)]]
    # Without a group: one trajectory per task
    assert turns(ReinforcePP(), Group("a", [group.trajectories[0]]), Group("b", [group.trajectories[1]])) == [[1.5], [-0.5]]
    assert turns(ReinforcePP(), plain(1, 1)) == [[0], [0]] and turns(ReinforcePP(), plain(1)) == [[0]]
    # gamma .5 with a turn reward 1 on token 1 of 3 and reward 4 on the last: G = 1 + .5 * 2, .5 * 4, 4
    trajectory = attempt(0, 4.0, (1, 2), (1.0, 0.0))
    ReinforcePP(gamma=0.5)(Group("t", [trajectory]))
    # mean 8 / 3, variance (4/9 + 4/9 + 16/9) / 2 = 4/3, std 1.154701
    assert tokens(trajectory) == pytest.approx([-0.577350, -0.577350, 1.154701], abs=1e-6)


def test_reinforce_pp_baseline() -> None:
    # Group a: +-.5 with 1 and 3 tokens; b: +-1 with 2 and 2. N = 8, sum = .5 - 1.5 + 2 - 2 = -1, mean -.125
    # squares: .25 + .75 + 2 + 2 = 5; variance (5 - 8 * .015625) / 7 = .696429, std .834523
    a = Group("a", [attempt(0, 1.0), attempt(1, 0.0, (3,))])
    b = Group("b", [attempt(0, 4.0, (2,)), attempt(1, 2.0, (1, 1))])
    expected = [x / 0.834523 for x in (0.625, -0.375, 1.125, -0.875, -0.875)]
    assert flat(turns(ReinforcePPBaseline(), a, b)) == pytest.approx(expected, abs=1e-5)
    assert flat(turns(ReinforcePPBaseline(), plain(2, 2))) == [0, 0]


def test_broadcast() -> None:
    def two_roots(sample: int, reward: float) -> Trajectory:
        trajectory = attempt(sample, reward, (2, 1))
        trajectory.add("prompt", [3], parent=None, derived_from=4)
        trajectory.add("generation", [9], parent=len(trajectory.nodes) - 1, logprobs=[-1.0])
        return trajectory

    group = Group("t", [two_roots(0, 1), attempt(1, 0)])
    # R = 1, 0 over trajectories, not over their 2 and 1 roots
    assert turns(Broadcast(), group) == [[0.5] * 3, [-0.5]]
    assert turns(Broadcast(std=True, epsilon=0), group) == [[pytest.approx(0.707107)] * 3, [pytest.approx(-0.707107)]]
    assert turns(Broadcast(roots="last"), group) == [[0, 0, 0.5], [-0.5]]


# Per turn


def test_kimi() -> None:
    group = Group("t", [attempt(0, 1, (1, 2, 1)), attempt(1, -1, (1,))])
    # gamma .5, T = 3: .25, .5, 1; the wrong one keeps -1; mean .75 / 4 = .1875
    assert turns(Kimi(gamma=0.5), group) == [[0.0625, 0.3125, 0.8125], [-1.1875]]
    assert turns(Kimi(gamma=0.5, exponent="from-start"), group) == [[0.8125, 0.3125, 0.0625], [-1.1875]]
    assert turns(Kimi(gamma=0.5, baseline="none"), group) == [[0.25, 0.5, 1.0], [-1.0]]


def test_kimi_prefers_the_early_turns_of_a_short_trajectory() -> None:
    short, long = turns(Kimi(), Group("t", [attempt(0, 1, (1, 1)), attempt(1, 1, (1,) * 6)]))
    assert short[0] > long[0] and short[-1] == long[-1]


def test_mt_grpo() -> None:
    group = Group(
        "t",
        [
            attempt(0, 1, (2, 1, 1), (1.0, 0.5, 9.0)),  # acts twice, then answers: the answer's turn reward does not count
            attempt(1, 0, (1, 1), (0.0, 9.0)),
            attempt(2, 0, (1,), (0.5,)),  # never acts: its only turn is compared with the first turns
        ],
    )
    # z(R): mean 1/3, std sqrt((4/9 + 1/9 + 1/9) / 2) = .577350: 1.154701, -.577350, -.577350
    # first turns 1, 0, .5: mean .5, std .5: 1, -1, 0. Second acting turns: only one trajectory has it.
    found = turns(MTGRPO(epsilon=0), group)
    assert found == [
        pytest.approx([2.154701, 1.154701, 1.154701], abs=1e-6),
        pytest.approx([-1.577350, -0.577350], abs=1e-6),
        pytest.approx([-0.577350], abs=1e-6),
    ]
    half = turns(MTGRPO(epsilon=0, alpha=0.5), group)
    assert half[0][0] == pytest.approx(1.654701, abs=1e-6) and half[1][0] == pytest.approx(-1.077350, abs=1e-6)
    # A turn that acts last, as in a truncated trajectory, acts.
    group.trajectories[1].add("observation", [5], parent=group.trajectories[1].nodes[-1].id)
    # second turns .5, 9: mean 4.75, std 6.010408: -+.707107
    assert turns(MTGRPO(epsilon=0), group)[1] == pytest.approx([-1.577350, 0.129757], abs=1e-6)


def test_mt_grpo_needs_turn_rewards() -> None:
    with pytest.raises(CreditError, match="group t has no turn rewards"):
        MTGRPO()(plain(1, 0))


def gigpo_group() -> Group:
    """Both start in the same state; the second turns of 0 and 1 are in states set by the environment."""
    group = Group("t", [attempt(0, 1, (1, 1)), attempt(1, 0, (1, 1)), attempt(2, 0, (1,))])
    for trajectory, state in zip(group, ("b", {"y": 1, "x": 2}, None), strict=True):
        if state:
            trajectory.nodes[3].meta["state"] = state
    return group


def test_gigpo() -> None:
    # Episode: mean 1/3: 2/3, -1/3, -1/3. First turns, gamma .5: returns .5, 0, 0, mean 1/6: 1/3, -1/6, -1/6. Second: two single states.
    assert turns(GiGPO(gamma=0.5), gigpo_group()) == [
        pytest.approx([1, 2 / 3]),
        pytest.approx([-0.5, -1 / 3]),
        pytest.approx([-0.5]),
    ]
    assert turns(GiGPO(gamma=0.5, omega=0.0), gigpo_group()) == [
        [pytest.approx(2 / 3)] * 2,
        [pytest.approx(-1 / 3)] * 2,
        [pytest.approx(-1 / 3)],
    ]
    same = gigpo_group()
    same.trajectories[0].nodes[3].meta["state"] = {"x": 2, "y": 1}  # an equal state, written in another order
    # Second turns: returns 1, 0: +-.5
    assert turns(GiGPO(gamma=0.5), same)[:2] == [pytest.approx([1, 2 / 3 + 0.5]), pytest.approx([-0.5, -1 / 3 - 0.5])]
    # Episode z: std .577350. Step: .5, 0, 0: mean 1/6, std .288675: 1.154701, -.577350, -.577350
    normed = turns(GiGPO(gamma=0.5, norm="mean_std_norm", epsilon=0), gigpo_group())
    assert normed == [
        pytest.approx([2.309401, 1.154701], abs=1e-6),
        pytest.approx([-1.154701, -0.577350], abs=1e-6),
        pytest.approx([-1.154701], abs=1e-6),
    ]


def test_gigpo_takes_turn_rewards() -> None:
    group = Group("t", [attempt(0, 1, (1, 1), (2.0, 0.0)), attempt(1, 1, (1,), (0.0,))])
    # First returns: 2 + .5 * 1 = 2.5 and 1: +-.75; equal rewards
    assert turns(GiGPO(gamma=0.5), group) == [[0.75, 0], [-0.75]]


def test_gigpo_groups_by_path() -> None:
    # The second turns of two forks stand after the same tokens, without any state being set.
    first = attempt(0, 1, (1, 1))
    second = first.fork(2, sample=1)
    second.add("generation", [50], parent=2, logprobs=[-1.0])
    second.status = Status.COMPLETED
    # Episode +-.5; first turns gamma * R = .95, 0: +-.475; second 1, 0: +-.5
    assert turns(GiGPO(), Group("t", [first, second])) == [pytest.approx([0.975, 1.0]), pytest.approx([-0.975, -1.0])]


def test_step_returns() -> None:
    group = Group("t", [attempt(0, 1, (2, 1), (0.5, 0.0)), attempt(1, 0, (1, 2), (0.25, 0.0)), attempt(2, 1, (1,), (0.0,))])
    group.trajectories[1].nodes[3].token_rewards = [0.0, -1.0]
    StepReturns()(group)
    # Returns: 1.5 1.5 | 1; -.75 | -1 -1; 1. First turns start at 1.5, -.75, 1: mean 7/12. Second turns: 1, -1: mean 0
    assert tokens(group.trajectories[0]) == pytest.approx([11 / 12, 11 / 12, 1])
    assert tokens(group.trajectories[1]) == pytest.approx([-16 / 12, -1, -1])
    assert tokens(group.trajectories[2]) == pytest.approx([5 / 12])
    group.trajectories[1] = attempt(1, 0, (1,), (0.25,))
    StepReturns(gamma=0.5)(group)
    # Returns: .5 + .5 * 1 = 1 at the turn's last token, .5 at its first; the start of a turn that no other has: mean of .5, .25, 1 = 7/12
    assert tokens(group.trajectories[0]) == pytest.approx([0.5 - 7 / 12, 1 - 7 / 12, 1 - 7 / 12])


def test_step_returns_needs_them() -> None:
    with pytest.raises(CreditError, match="group t has neither turn nor span rewards"):
        StepReturns()(plain(1, 0))


# Per token


def valued(reward: float, values: Sequence[Sequence[float]], turn_rewards: Sequence[float] = ()) -> Trajectory:
    trajectory = attempt(0, reward, [len(each) for each in values], turn_rewards)
    for node, each in zip(trajectory.generations(), values, strict=True):
        node.values = list(each)
    return trajectory


def test_gae() -> None:
    trajectory = valued(1.0, [[0.5, 0.25], [0.75]])
    group = Group("t", [trajectory])
    # gamma 1, lambda 1: return minus value
    GAE(whiten=False)(group)
    assert tokens(trajectory) == pytest.approx([0.5, 0.75, 0.25])
    assert [node.returns for node in trajectory.nodes] == [[0, 0], [1, 1], [0, 0, 0], [1]]
    # lambda 0: one step; the value after the page is the next policy token's
    GAE(whiten=False, lam=0)(group)
    assert tokens(trajectory) == pytest.approx([-0.25, 0.5, 0.25])
    # gamma .5, lambda .5. deltas: .125 - .5 = -.375, .375 - .25 = .125, 1 - .75 = .25
    # A: .25; .125 + .25 * .25 = .1875; -.375 + .25 * .1875 = -.328125; returns add the values
    GAE(whiten=False, gamma=0.5, lam=0.5)(group)
    assert tokens(trajectory) == pytest.approx([-0.328125, 0.1875, 0.25])
    assert trajectory.nodes[1].returns == pytest.approx([0.171875, 0.4375]) and trajectory.nodes[3].returns == pytest.approx([1.0])
    # Whitened: .5, .75, .25 has mean .5, std .25; returns stay
    GAE()(group)
    assert tokens(trajectory) == pytest.approx([0, 1, -1]) and trajectory.nodes[3].returns == [1]


def test_gae_places_step_rewards() -> None:
    trajectory = valued(1.0, [[0.0, 0.0], [0.0]], turn_rewards=(0.5, 0.0))
    trajectory.nodes[1].token_rewards = [0.25, 0.0]
    GAE(whiten=False)(Group("t", [trajectory]))
    assert tokens(trajectory) == pytest.approx([1.75, 1.5, 1.0])


def test_gae_without_a_critic_is_refused() -> None:
    with pytest.raises(CreditError, match="trajectory t/0: node 1 has 0 values for 1 tokens; gae reads a critic's"):
        GAE()(plain(1))


def test_entropy_aware() -> None:
    group = Group("t", [attempt(0, 1, (2, 1)), attempt(1, 0, (1,))])
    entropies = ([[0.0, 1.0], [1.0]], [[2.0]])
    for trajectory, columns in zip(group, entropies, strict=True):
        for node, column in zip(trajectory.generations(), columns, strict=True):
            node.entropies = column
    EntropyAware(epsilon=0)(group)
    # H = 0 1 1 2: mean 1, std sqrt(2 / 3) = .816497: -1.224745, 0, 0, 1.224745; z(R) = +-.707107; factors 1 - .244949, 1, 1, 1.244949
    assert tokens(group.trajectories[0]) == pytest.approx([0.533902, 0.707107, 0.707107], abs=1e-6)
    assert tokens(group.trajectories[1]) == pytest.approx([-0.880312], abs=1e-6)
    EntropyAware(epsilon=0, a=1.0)(group)
    assert tokens(group.trajectories[0])[0] == pytest.approx(0.707107 * (1 - 1.224745), abs=1e-6)


def test_entropy_aware_without_entropies_is_refused() -> None:
    with pytest.raises(CreditError, match="no token of the step has an entropy"):
        EntropyAware().assign([plain(1, 0)])
    EntropyAware().assign([])


# Forks and roles


def forked() -> Group:
    """0 with fork 1, and 2 alone; the forks share the prompt, the first turn and its result."""
    first, alone = attempt(0, 1, (2, 1)), attempt(2, 0, (1,))
    fork = first.fork(2, sample=1)
    fork.add("generation", [50], parent=2, logprobs=[-1.0])
    fork.status, fork.reward = Status.COMPLETED, 0.0
    return Group("t", [first, fork, alone])


def test_arpo() -> None:
    # R = 1, 0, 0: z = 1.154701, -.577350, -.577350; the shared turn's mean is .288675
    high, low = pytest.approx(1.154701, abs=1e-6), pytest.approx(-0.577350, abs=1e-6)
    assert turns(ARPO(epsilon=0), forked()) == [[high, high], [low, low], [low]]
    mean = pytest.approx(0.288675, abs=1e-6)
    assert turns(ARPO(epsilon=0, attribution="hard"), forked()) == [[mean, high], [mean, low], [low]]


def test_arpo_hard_counts_what_is_trained() -> None:
    group = forked()
    group.trajectories[1].meta["train"] = False
    ARPO(attribution="hard", epsilon=0)(group)
    # In the baseline, but nobody else passes through the shared turn.
    assert tokens(group.trajectories[0]) == pytest.approx([1.154701] * 3, abs=1e-6) and tokens(group.trajectories[1]) == []


@given(st.integers(0, 10**6))
def test_arpo_hard_and_soft_are_equal_on_policy(seed: int) -> None:
    # On policy the gradient of a token is the sum of its copies' advantages times its score.
    stream, group = random.Random(seed), Group("t", [])
    for sample in range(stream.randint(2, 7)):
        base = stream.choice([None, *group.trajectories])
        trajectory = attempt(sample, 0.0) if base is None else base.fork(stream.randrange(len(base.nodes)), sample)
        for _ in range(stream.randint(1, 3)):
            size = stream.randint(1, 3)
            trajectory.add("generation", [sample] * size, parent=len(trajectory.nodes) - 1, logprobs=[-1.0] * size)
        trajectory.status, trajectory.reward = Status.COMPLETED, stream.random()
        group.trajectories.append(trajectory)

    def sums() -> dict[tuple[tuple[int, int], int], float]:
        total: dict[tuple[tuple[int, int], int], float] = {}
        for trajectory in group:
            for node in trajectory.nodes:
                for index, value in enumerate(node.advantages):
                    key = (trajectory.origin(node), index)
                    total[key] = total.get(key, 0.0) + value
        return total

    ARPO()(group)
    soft = sums()
    ARPO(attribution="hard")(group)
    assert sums() == pytest.approx(soft, abs=1e-6)


def test_tree_grpo() -> None:
    # Tree {0, 1}: R = 1, 0: z = +-.707107. All: 1.154701, -.577350, -.577350. The tree of 2 has one member.
    found = turns(TreeGRPO(epsilon=0), forked())
    assert found == [
        [pytest.approx(1.861808, abs=1e-6)] * 2,
        [pytest.approx(-1.284457, abs=1e-6)] * 2,
        [pytest.approx(-0.577350, abs=1e-6)],
    ]
    # A fork of the fork belongs to the same tree: {1, 0, .5}: mean .5, std .5; all: 1, 0, .5, 0: mean .375, std .478714
    group = forked()
    again = group.trajectories[1].fork(3, sample=3)
    again.status, again.reward = Status.COMPLETED, 0.5
    group.trajectories.append(again)
    assert turns(TreeGRPO(epsilon=0), group)[3] == [pytest.approx(0.261116, abs=1e-6)] * 2


def team(sample: int, reward: float, delegates: Sequence[float], edge: int = 1) -> Trajectory:
    """A planner's turn, and a root per delegate with its own turn reward."""
    trajectory = attempt(sample, reward)
    for value in delegates:
        root = trajectory.add("prompt", [5], parent=None, derived_from=edge, role="searcher")
        node = trajectory.add("generation", [6, 6], parent=root.id, logprobs=[-1.0] * 2, role="searcher")
        node.rewards, node.reward = {"format": value}, value
    return trajectory


def test_roles() -> None:
    group = Group("t", [team(0, 1, [0.0, -1.0]), team(1, 0, [0.5]), team(2, 0, [])])
    # Planners: 1, 0, 0: z = 1.154701, -.577350, -.577350.
    # Searchers: (1 + 0, 1 - 1) with mean .5, and 0 + .5: equal means, so no spread
    found = turns(Roles(epsilon=0), group)
    assert found[0] == pytest.approx([1.154701, 0, 0], abs=1e-6) and found[2] == pytest.approx([-0.577350], abs=1e-6)
    group.trajectories[1] = team(1, 0, [-0.5])
    # Searchers: means .5 and -.5: mean 0, std .707107; the roots 1, 0 and -.5
    found = turns(Roles(epsilon=0), group)
    assert found[0][1:] == pytest.approx([1.414214, 0], abs=1e-6) and found[1][1:] == pytest.approx([-0.707107], abs=1e-6)
    # A role that only one trajectory has is compared with nothing.
    group.trajectories[1] = team(1, 0, [])
    assert turns(Roles(epsilon=0), group)[0][1:] == [0, 0]


def test_roles_by_fork() -> None:
    first = team(0, 1, [0.0])
    fork = first.fork(1, sample=1)
    root = fork.add("prompt", [8], parent=None, derived_from=1, role="searcher")
    fork.add("generation", [9], parent=root.id, logprobs=[-1.0], role="searcher")
    fork.status = Status.COMPLETED
    other = team(2, 0, [0.0])
    # Two searchers that one turn led to: R = 1, 0: +-.707107. The third derives from another turn.
    found = turns(Roles(by="fork", epsilon=0), Group("t", [first, fork, other]))
    assert [row[1] for row in found] == pytest.approx([0.707107, -0.707107, 0], abs=1e-6)
    assert [row[0] for row in found] == pytest.approx([1.154701, -0.577350, -0.577350], abs=1e-6)


# All of them

GROUP_RULES = [name for name in credit_rules.names() if name not in ("gae", "reinforce-pp")]


def complete(rewards: Sequence[float], seed: int = 0) -> Group:
    """A group that has what any rule reads."""
    stream, group = random.Random(seed), Group("t", [])
    for sample, reward in enumerate(rewards):
        sizes = [stream.randint(1, 3) for _ in range(stream.randint(1, 3))]
        trajectory = attempt(sample, reward, sizes, [stream.random() for _ in sizes])
        trajectory.rewards, trajectory.weights = {"em": reward, "format": reward / 2}, {"em": 0.5, "format": 1.0}
        for node in trajectory.generations():
            node.values = [stream.random() for _ in node.token_ids]
            node.entropies = [stream.random() for _ in node.token_ids]
        group.trajectories.append(trajectory)
    return group


def advantages(nodes: Sequence[Node]) -> list[list[float]]:
    return [node.advantages for node in nodes]


@pytest.mark.parametrize("name", credit_rules.names())
def test_what_is_kept_for_the_baseline_counts_and_is_not_trained(name: str) -> None:
    rule = credit_rules.build(name)
    whole, part = complete([1, 0, 0.5]), complete([1, 0, 0.5])
    part.trajectories[2].set_advantage(9.0)  # left from an earlier run
    part.trajectories[2].meta["train"] = False
    rule.assign([whole])
    rule.assign([part])
    assert all(node.advantages == [] for node in part.trajectories[2].nodes)
    trained = [advantages(trajectory.nodes) for trajectory in part.trajectories[:2]]
    assert all(len(a) == len(node.token_ids) for t in part.trajectories[:2] for a, node in zip(advantages(t.nodes), t.nodes, strict=True))
    if name not in ("gae", "reinforce-pp", "reinforce-pp-baseline", "entropy-aware"):  # these also whiten over what is trained
        assert trained == [advantages(trajectory.nodes) for trajectory in whole.trajectories[:2]]


@pytest.mark.parametrize("name", credit_rules.names())
def test_broken_members_have_no_part_in_it(name: str) -> None:
    rule = credit_rules.build(name)
    group, without = complete([1, 0, -5]), complete([1, 0])
    group.trajectories[2].status = Status.BROKEN
    group.trajectories[2].set_advantage(9.0)
    rule.assign([group])
    rule.assign([without])
    assert [advantages(t.nodes) for t in group.trajectories[:2]] == [advantages(t.nodes) for t in without]
    assert all(node.advantages == [] for node in group.trajectories[2].nodes)


@pytest.mark.parametrize("name", GROUP_RULES)
def test_a_group_of_one_is_refused(name: str) -> None:
    with pytest.raises(CreditError, match="group t has 1 unbroken of 1 trajectories; a baseline needs at least two trajectories"):
        credit_rules.build(name).assign([complete([1])])


@pytest.mark.parametrize("name", credit_rules.names())
def test_the_order_of_arrival_does_not_matter(name: str) -> None:
    rule, groups = credit_rules.build(name), [complete([1, 0, 0.5], 1), complete([0.25, 1], 2)]
    rule.assign(groups)
    before = {id(node): node.advantages for group in groups for t in group for node in t.nodes}
    for group in groups:
        group.trajectories.reverse()
    rule.assign(groups[::-1])
    for group in groups:
        for trajectory in group:
            for node in trajectory.nodes:
                assert node.advantages == pytest.approx(before[id(node)], abs=1e-12)


@given(REWARDS)
def test_identities(rewards: list[float]) -> None:
    count, group = len(rewards), plain(*rewards)
    centred, scaled = flat(turns(DrGRPO(), group)), flat(turns(GRPO(), group))
    assert flat(turns(Broadcast(), group)) == centred and flat(turns(Broadcast(std=True), group)) == scaled
    assert flat(turns(ARPO(), group)) == scaled == flat(turns(SFRDR(), group))
    assert flat(turns(RLOO(), group)) == pytest.approx([value * count / (count - 1) for value in centred], abs=1e-9)
    assert flat(turns(Roles(), group)) == pytest.approx(scaled, abs=1e-6)
    # One group is the whole batch; every trajectory has one token.
    assert flat(turns(BatchStd(), group)) == pytest.approx(scaled, abs=1e-9)
    assert flat(turns(ReinforcePPBaseline(), group)) == pytest.approx(flat(turns(GRPO(epsilon=0), group)), abs=1e-6)
    assert flat(turns(ReinforcePP(), group)) == pytest.approx(flat(turns(GRPO(epsilon=0), group)), abs=1e-6)
    assert flat(turns(Kimi(gamma=1), group)) == pytest.approx(centred, abs=1e-9)
    assert flat(turns(GiGPO(omega=0), group)) == pytest.approx(centred, abs=1e-9)
    # No trajectory has a tree but its own.
    assert flat(turns(TreeGRPO(), group)) == scaled


@given(REWARDS, st.integers(0, 100))
def test_a_trajectory_weighs_the_same_however_many_turns(rewards: list[float], seed: int) -> None:
    group = complete(rewards, seed)
    per_turn, whole = turns(SFRDR(), group), turns(GRPO(), group)
    assert [sum(row) for row in per_turn] == pytest.approx([row[0] for row in whole], abs=1e-9)


def test_wrong_options_are_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="recipe: unknown credit rule 'gigpoo'; did you mean 'gigpo'"):
        credit_rules.build("gigpoo")
    with pytest.raises(ConfigError, match="recipe: arpo: 'attribution': Input should be 'soft' or 'hard' "):
        credit_rules.build("arpo", {"attribution": "firm"})
    with pytest.raises(ConfigError, match="recipe: gae: unknown key 'lambda'; did you mean 'lam'"):
        credit_rules.build("gae", {"lambda": 1.0})


def test_what_rules_read() -> None:
    reads = {name: credit_rules.get(name).reads for name in credit_rules.names()}
    assert {name: set(names) for name, names in reads.items() if names} == {
        "arpo": {"forks"},
        "entropy-aware": {"entropies"},
        "gae": {"values"},
        "gdpo": {"objectives"},
        "mt-grpo": {"turn_rewards"},
        "roles": {"roles"},
        "tree-grpo": {"forks"},
    }
    known = {"turn_rewards", "span_rewards", "values", "entropies", "roles", "forks", "objectives"}
    assert all(credit_rules.get(name).uses <= known for name in credit_rules.names())


def test_the_defaults_are_the_published_settings() -> None:
    built_in = [name for name in credit_rules.names() if credit_rules.get(name).__module__.startswith("spadework.")]
    found = {name: credit_rules.build(name).model_dump() for name in built_in}
    assert found == {
        "arpo": {"attribution": "soft", "epsilon": 1e-6},
        "batch-std": {"epsilon": 1e-6},
        "broadcast": {"std": False, "roots": "all", "epsilon": 1e-6},
        "dr-grpo": {},
        "entropy-aware": {"a": 0.2, "epsilon": 1e-6},
        "gae": {"gamma": 1.0, "lam": 1.0, "whiten": True},
        "gdpo": {"aggregation": "normalize_then_sum", "epsilon": 1e-6},
        "gigpo": {"omega": 1.0, "gamma": 0.95, "norm": "mean_norm", "epsilon": 1e-6},
        "grpo": {"epsilon": 1e-6},
        "kimi": {"gamma": 0.97, "exponent": "from-end", "baseline": "group"},
        "mt-grpo": {"alpha": 1.0, "epsilon": 1e-4},
        "reinforce-pp": {"gamma": 1.0},
        "reinforce-pp-baseline": {},
        "rloo": {},
        "roles": {"by": "role", "epsilon": 1e-6},
        "sfr-dr": {"epsilon": 1e-6},
        "step-returns": {"gamma": 1.0},
        "tree-grpo": {"epsilon": 1e-6},
    }


def test_kimi_does_not_make_failing_slowly_cheap() -> None:
    # The wrong one keeps -1 on both turns; mean over the turns (1 - 1 - 1) / 3
    found = turns(Kimi(gamma=0.5), Group("t", [attempt(0, 1), attempt(1, -1, (1, 1))]))
    assert found == [pytest.approx([4 / 3]), pytest.approx([-2 / 3, -2 / 3])]


def test_reinforce_pp_baseline_with_few_tokens() -> None:
    # +-.5 over two tokens: variance (.25 + .25) / 1, std .707107
    assert flat(turns(ReinforcePPBaseline(), plain(1, 0))) == pytest.approx([0.707107, -0.707107], abs=1e-6)
    # One token in the whole step is its own mean.
    group = Group("t", [attempt(0, 1), attempt(1, 0, ())])
    ReinforcePPBaseline()(group)
    assert tokens(group.trajectories[0]) == [0.0]


def test_a_fork_at_the_prompt_belongs_to_the_tree() -> None:
    first, alone = attempt(0, 1), attempt(2, 0)
    fork = first.fork(0, sample=1)
    fork.add("generation", [50], parent=0, logprobs=[-1.0])
    fork.status = Status.COMPLETED
    # The tree {0, 1}: +-.707107; all: 1.154701, -.577350, -.577350
    found = flat(turns(TreeGRPO(epsilon=0), Group("t", [first, fork, alone])))
    assert found == pytest.approx([1.861808, -1.284457, -0.577350], abs=1e-6)


def test_some_trajectories_may_lack_what_a_rule_reads_of_tokens() -> None:
    group = Group("t", [attempt(0, 1, (2,)), attempt(1, 0)])
    group.trajectories[0].nodes[1].entropies = [0.0, 2.0]
    # H = 0, 2, 0: mean 2 / 3, std 1.154701: whitened -.577350, 1.154701, -.577350; z(R) = +-.707107
    EntropyAware(epsilon=0)(group)
    assert tokens(group.trajectories[0]) == pytest.approx([0.707107 * 0.884530, 0.707107 * 1.230940], abs=1e-5)
    group.trajectories[0].nodes[1].token_rewards = [0.5, 0.0]
    # Returns 1.5, 1 and 0; both start at the first turn, with mean .75
    StepReturns()(group)
    assert [tokens(t) for t in group] == [pytest.approx([0.75, 0.25]), pytest.approx([-0.75])]


def test_step_returns_of_a_group_without_tokens() -> None:
    group = Group("t", [attempt(0, 1, (0,), (1.0,)), attempt(1, 0, (0,), (0.0,))])
    StepReturns()(group)
    assert [tokens(trajectory) for trajectory in group] == [[], []]
