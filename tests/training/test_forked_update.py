"""A fork's prefix stands in the pack once, and the gradient is that of the unshared sequences, whatever the loss."""

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from spadework.algorithms.credit.arpo import ARPO
from spadework.algorithms.losses.loss import LossInputs, LossOutput
from spadework.algorithms.losses.ppo_clip import PPOClip
from spadework.training.learner import Learner, LearnerConfig
from spadework.trajectories.packing import Pack, group_samples, make_packs
from spadework.trajectories.tree import Group, Status, Trajectory

Make = Callable[..., PreTrainedModel]


def forked_group() -> Group:
    """Four attempts: 1 forks from 0 after its first results, 2 forks from 1 one turn later, 3 stands alone."""
    stream = random.Random(0)

    def tokens(count: int) -> list[int]:
        return [stream.randrange(60) for _ in range(count)]

    def turn(trajectory: Trajectory) -> None:
        sampled = tokens(stream.randint(2, 5))
        node = trajectory.add("generation", sampled, parent=len(trajectory.nodes) - 1, logprobs=[-1.0] * len(sampled))
        trajectory.add("observation", tokens(3), parent=node.id)

    trajectories = [Trajectory("t", sample) for sample in (0, 3)]
    for trajectory in trajectories:
        trajectory.add("prompt", [1, 2, 3, 4], parent=None)
        turn(trajectory)
    trajectories.insert(1, trajectories[0].fork(2, sample=1))
    turn(trajectories[1])
    trajectories.insert(2, trajectories[1].fork(4, sample=2))
    for trajectory, advantage in zip(trajectories, (1.0, -0.5, 0.25, -2.0), strict=True):
        turn(trajectory)
        turn(trajectory)
        trajectory.status = Status.COMPLETED
        trajectory.set_advantage(advantage)
    return Group("t", trajectories)


def per_sequence(inputs: LossInputs) -> LossOutput:
    """A loss that is not a sum over tokens: the squared mean of every sequence, so it has to know which tokens a sequence has."""
    counts = torch.bincount(inputs.sequence_ids, minlength=inputs.num_sequences)
    sums = torch.zeros(len(counts)).index_add(0, inputs.sequence_ids, inputs.logprobs * inputs.advantages)
    return LossOutput((sums / counts.clamp(min=1)).square().sum() / inputs.num_sequences)


def gradient(make: Make, packs: list[Pack], loss: Callable[[LossInputs], LossOutput]) -> Tensor:
    model, seen = make(), {}
    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda p, name=name: seen.update({name: p.grad.detach().clone()}))
    Learner(model, LearnerConfig(dtype="float32"), total_steps=1).step(packs, loss)
    return torch.cat([seen[name].flatten() for name in sorted(seen)])


@pytest.mark.parametrize("loss", [PPOClip(), PPOClip(aggregation="seq-mean-token-mean"), per_sequence])
def test_the_gradient_is_that_of_the_unshared_sequences(make_model: Make, loss: Callable[[LossInputs], LossOutput]) -> None:
    group = forked_group()
    shared = make_packs([group_samples(group)], 10_000)
    unshared = make_packs([group_samples(Group("t", [trajectory])) for trajectory in group], 10_000)
    assert sum(len(pack.token_ids) for pack in shared) < 0.7 * sum(len(pack.token_ids) for pack in unshared)
    assert sum(len(pack.targets) for pack in shared) == sum(len(pack.targets) for pack in unshared)
    expected = gradient(make_model, unshared, loss)
    assert float((gradient(make_model, shared, loss) - expected).abs().max()) < 1e-6 * max(1.0, float(expected.abs().max()))


def test_hard_and_soft_credit_of_forks_are_the_same_step(make_model: Make) -> None:
    # On policy, and under a loss that weighs tokens alike: copies of a token add up to the same.
    gradients = []
    for attribution in ("soft", "hard"):
        group = forked_group()
        for trajectory, reward in zip(group, (1.0, 0.0, 0.5, 0.0), strict=True):
            trajectory.reward = reward
        ARPO(attribution=attribution)(group)
        gradients.append(gradient(make_model, make_packs([group_samples(group)], 10_000), PPOClip()))
    soft, hard = gradients
    assert float(soft.abs().max()) > 1e-3
    assert float((soft - hard).abs().max()) < 1e-6 * max(1.0, float(soft.abs().max()))


def test_a_family_that_is_split_has_the_same_gradient(make_model: Make) -> None:
    samples = group_samples(forked_group())
    whole = gradient(make_model, make_packs([samples], 10_000), PPOClip())
    split = make_packs([samples], 40)
    assert len(split) > 1
    assert float((gradient(make_model, split, PPOClip()) - whole).abs().max()) < 1e-6 * max(1.0, float(whole.abs().max()))
