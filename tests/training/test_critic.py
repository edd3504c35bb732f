"""The critic: what it sees, what it learns, and that it resumes."""

import copy
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from spadework.algorithms.credit.credit import CreditError
from spadework.algorithms.credit.gae import GAE
from spadework.algorithms.credit.policy_tokens import write
from spadework.algorithms.losses.ppo_clip import PPOClip
from spadework.training.critic import Critic, CriticConfig, describe
from spadework.training.learner import Learner, LearnerConfig
from spadework.training.optimizer import OptimizerConfig
from spadework.training.rl import _learn
from spadework.training.stages import RLStage
from spadework.trajectories.packing import make_packs, step_samples
from spadework.trajectories.tree import Group, Trajectory

Make = Callable[..., PreTrainedModel]
OPTIMIZER = OptimizerConfig(name="adamw", lr=3e-3, warmup=0, decay=0)
ACTOR = LearnerConfig(dtype="float32", optimizer=OPTIMIZER)


def make_critic(policy: PreTrainedModel, steps: int = 60, **options: object) -> Critic:
    return Critic(policy, CriticConfig(optimizer=OPTIMIZER, **options), total_steps=steps, dtype="float32")


def make_groups() -> list[Group]:
    """Three tasks; the reward is the task's, 2, -1 and 0.5, plus or minus a quarter, so the best estimate is known: the task's."""
    stream = random.Random(0)
    groups = []
    for task, reward in enumerate((2.0, -1.0, 0.5)):
        group = Group(str(task), [])
        for sample in range(2):
            trajectory = Trajectory(group.key, sample, reward=reward + (0.25 if sample else -0.25))
            trajectory.add("prompt", [task, 7, task], parent=None)
            for turn in range(2):
                sampled = [stream.randrange(20, 60) for _ in range(3)]
                node = trajectory.add("generation", sampled, parent=2 * turn, logprobs=[-2.0] * 3)
                trajectory.add("observation", [stream.randrange(20)], parent=node.id)
            group.trajectories.append(trajectory)
        groups.append(group)
    return groups


def estimate(critic: Critic, groups: list[Group], max_tokens: int = 10_000) -> np.ndarray:
    """Six tokens of each of six trajectories."""
    return critic.estimate(make_packs(step_samples(groups), max_tokens), 36).reshape(6, 6)


def assign(critic: Critic, groups: list[Group], rule: GAE) -> None:
    for trajectory, row in zip((t for group in groups for t in group), estimate(critic, groups), strict=True):
        write(trajectory, values=row)
    rule.assign(groups)


def learned(make: Make, steps: int = 60, **options: object) -> tuple[Learner, list[dict[str, float]], list[Group]]:
    model, groups = make(), make_groups()
    learner = Learner(model, ACTOR, total_steps=steps, critic=make_critic(model, steps, **options))
    told = []
    for _ in range(steps):
        assert learner.critic is not None
        assign(learner.critic, groups, GAE())
        told.append(learner.step(make_packs(step_samples(groups), 10_000), PPOClip()))
    return learner, told, groups


def test_it_starts_at_zero_and_learns_the_returns(make_model: Make) -> None:
    # The policy waits, so that what is learned is the critic's work; the clip does not let an estimate jump.
    learner, told, groups = learned(make_model, warmup=59)
    assert learner.critic is not None
    assert not estimate(make_critic(make_model()), groups).any()
    # Before the first token of a turn the two attempts at a task look alike: their mean is the best estimate.
    first = estimate(learner.critic, groups)[:, 0]
    assert first == pytest.approx([2.0, 2.0, -1.0, -1.0, 0.5, 0.5], abs=0.1)
    assert told[0]["critic/values/mean"] == 0 and told[0]["critic/vf_explained_var"] == 0
    assert told[0]["critic/vf_loss"] == pytest.approx((2 * 2.0**2 + 2 * 1.0**2 + 2 * 0.5**2 + 6 * 0.25**2) / 6 / 2)
    assert told[-1]["critic/vf_loss"] < 0.02 and told[-1]["critic/vf_explained_var"] > 0.95
    assert told[-1]["critic/vpred_mean"] == pytest.approx(0.5, abs=0.1) and told[0]["critic/returns/mean"] == pytest.approx(0.5)


def test_an_estimate_is_made_before_its_token(make_model: Make) -> None:
    learner, _, groups = learned(make_model, 10)
    assert learner.critic is not None
    before = estimate(learner.critic, groups)
    node = groups[0].trajectories[0].nodes[3]
    assert node.kind == "generation"
    node.token_ids[1] += 1  # the fifth sampled token of the first trajectory
    after = estimate(learner.critic, groups)
    assert after[0, :5] == pytest.approx(before[0, :5], abs=1e-6) and abs(after[0, 5] - before[0, 5]) > 1e-4
    assert after[1:] == pytest.approx(before[1:], abs=1e-6)


@pytest.mark.parametrize("max_tokens", [1, 12, 25])
def test_an_estimate_does_not_depend_on_the_packing(make_model: Make, max_tokens: int) -> None:
    learner, _, groups = learned(make_model, 10)
    assert learner.critic is not None
    assert estimate(learner.critic, groups, max_tokens) == pytest.approx(estimate(learner.critic, groups), abs=1e-5)


def test_in_the_warm_up_only_the_critic_learns(make_model: Make) -> None:
    learner, told, _ = learned(make_model, 3, warmup=2)
    model = make_model()
    assert [each["actor/lr"] for each in told] == [0, 0, OPTIMIZER.lr] and [each["critic/lr"] for each in told] == [OPTIMIZER.lr] * 3
    assert told[0]["actor/grad_norm"] == told[1]["actor/grad_norm"] == 0 < told[2]["actor/grad_norm"]
    assert told[0]["rollout_corr/max_abs_diff"] > 0 and "actor/pg_loss" in told[0], "it is still reported how the policy stands"
    waiting, _, _ = learned(make_model, 2, warmup=2)
    assert all(torch.equal(a, b) for a, b in zip(waiting.model.parameters(), model.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(learner.model.parameters(), model.parameters(), strict=True))


def test_its_weights_are_its_own(make_model: Make) -> None:
    model = make_model()
    critic = make_critic(model)
    groups = make_groups()
    assign(critic, groups, GAE())
    critic.learn(make_packs(step_samples(groups), 10_000)[0], 36)
    critic.update(0)
    assert estimate(critic, groups).any()
    assert all(torch.equal(a, b) and a.grad is None for a, b in zip(model.parameters(), make_model().parameters(), strict=True))


def test_the_clip_holds_an_estimate_back(make_model: Make) -> None:
    # Eight updates on one batch. Returns are 2 from 0; within 0.05 of its old value an estimate has a gradient, beyond it none.
    def after(clip: float | None) -> tuple[float, float]:
        model, groups = make_model(), make_groups()[:1]
        critic = make_critic(model, clip=clip)
        for trajectory in groups[0]:
            write(trajectory, values=np.zeros(6))
            write(trajectory, returns=np.full(6, 2.0))
        packs = make_packs(step_samples(groups), 10_000)
        metrics = Learner(model, ACTOR, total_steps=60, critic=critic).step(packs, PPOClip(), updates=[packs] * 8)
        return float(critic.estimate(packs, 12).mean()), metrics["critic/vf_clipfrac"]

    (held, cut), (free, uncut) = after(0.05), after(None)
    assert 0 < held < 0.7 * free and cut > 0.3 and uncut == 0


def test_a_saved_learner_with_a_critic_goes_on_exactly(make_model: Make) -> None:
    def go_on(learner: Learner, steps: int) -> None:
        groups = make_groups()
        for _ in range(steps):
            assert learner.critic is not None
            assign(learner.critic, groups, GAE(lam=0.9))
            families = step_samples(groups)
            halves = [make_packs(families[:2], 10_000), make_packs(families[2:], 10_000)]
            learner.step(make_packs(families, 10_000), PPOClip(), updates=halves * 2)

    def fresh(model: PreTrainedModel) -> Learner:
        return Learner(model, ACTOR, total_steps=4, critic=make_critic(make_model(), 4, warmup=1))

    whole, first = fresh(make_model()), fresh(make_model())
    go_on(whole, 4)
    go_on(first, 2)
    second = fresh(copy.deepcopy(first.model))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    go_on(second, 2)
    assert all(torch.equal(a, b) for a, b in zip(second.model.parameters(), whole.model.parameters(), strict=True))
    mine, theirs = (learner.state_dict()["critic"]["model"] for learner in (second, whole))
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


class NoReturns(GAE):
    """Reads values and forgets the critic."""

    def assign(self, groups: Sequence[Group]) -> None:
        super().assign(groups)
        for node in (node for group in groups for trajectory in group for node in trajectory.nodes):
            node.returns = []


def test_a_rule_that_leaves_the_critic_without_returns_is_an_error(make_model: Make) -> None:
    stage = RLStage.model_validate({"credit": {"gae": {}}, "critic": {}})
    learner = Learner(make_model(), ACTOR, total_steps=1, critic=make_critic(make_model()))
    with pytest.raises(CreditError, match="NoReturns reads a critic's values and writes no returns"):
        _learn(stage, replace(stage.parts(), credit=NoReturns()), learner, make_groups(), seed=0, done=0.0)
    assert _learn(stage, stage.parts(), learner, make_groups(), seed=0, done=0.0)["critic/returns/mean"] == pytest.approx(0.5)


def test_explained_variance_by_hand() -> None:
    # returns 0 0 1 1, values 0 0 .5 .5: errors 0 0 .5 .5 vary by 1/16, returns by 1/4
    group = make_groups()[0]
    group.trajectories[0].nodes = group.trajectories[0].nodes[:2]
    group.trajectories.pop()
    trajectory = group.trajectories[0]
    trajectory.nodes[1].token_ids, trajectory.nodes[1].mask, trajectory.nodes[1].logprobs = [30] * 4, [True] * 4, [-1.0] * 4
    trajectory.nodes[1].entropies = [0.0] * 4
    trajectory.set_advantage(0.0)
    trajectory.nodes[1].values, trajectory.nodes[1].returns = [0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]
    told = describe(make_packs(step_samples([group]), 100))
    assert told == {"critic/values/mean": 0.25, "critic/returns/mean": 0.5, "critic/vf_explained_var": 0.75}
    trajectory.nodes[1].returns = [1.0] * 4
    assert math.isnan(describe(make_packs(step_samples([group]), 100))["critic/vf_explained_var"])
    assert describe([]) == {}
