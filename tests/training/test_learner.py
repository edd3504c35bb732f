"""The learner: how tokens are packed changes nothing, mismatches are seen, and it learns."""

import copy
import math
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from spadework.algorithms.losses.loss import LossInputs, LossOutput
from spadework.algorithms.losses.ppo_clip import PPOClip
from spadework.training.learner import Learner, LearnerConfig
from spadework.training.optimizer import OptimizerConfig
from spadework.training.packed import ModelWeights, compute_dtype
from spadework.training.supervised import cross_entropy
from spadework.trajectories.packing import Sample, group_samples, make_packs, make_sample
from spadework.trajectories.tree import Group, Trajectory

Make = Callable[..., PreTrainedModel]
EXACT = LearnerConfig(dtype="float32", optimizer=OptimizerConfig(name="adamw", lr=1e-3, warmup=0, decay=0, max_grad_norm=1e9))


def group(seed: int = 0) -> Group:
    """Four attempts at one task, two policy turns each, with their own advantages."""
    stream = random.Random(seed)

    def tokens(count: int) -> list[int]:
        return [stream.randrange(60) for _ in range(count)]

    prompt, made = tokens(9), Group("t", [])
    for sample in range(4):
        trajectory = Trajectory("t", sample)
        trajectory.add("prompt", prompt, parent=None)
        for turn in range(2):
            sampled = tokens(stream.randint(2, 6))
            node = trajectory.add("generation", sampled, parent=2 * turn, logprobs=[-1.0] * len(sampled))
            trajectory.add("observation", tokens(3), parent=node.id)
        trajectory.set_advantage(stream.uniform(-1, 1))
        made.trajectories.append(trajectory)
    return made


def flat(made: Group) -> list[list[Sample]]:
    """The same attempts without any sharing, one by one."""
    return [group_samples(Group(made.key, [trajectory])) for trajectory in made]


def change(model: PreTrainedModel, before: PreTrainedModel) -> Tensor:
    pairs = zip(model.parameters(), before.parameters(), strict=True)
    return torch.cat([(after - start).detach().flatten() for after, start in pairs])


def updated(make: Make, packs: list, loss: Callable[[LossInputs], LossOutput]) -> tuple[Tensor, dict[str, float]]:
    """How one step moves the weights, and its metrics. Plain gradient descent is seen through Adam's eyes: compare directions."""
    model = make()
    learner = Learner(model, EXACT, total_steps=1)
    metrics = learner.step(packs, loss)
    return change(model, make()), metrics


def assert_same_update(first: tuple[Tensor, dict[str, float]], second: tuple[Tensor, dict[str, float]]) -> None:
    for name in first[1].keys() - {"rollout_corr/max_abs_diff"}:
        assert first[1][name] == pytest.approx(second[1][name], rel=1e-4, abs=1e-6), name
    # Adam's first step is the sign of the gradient, so entries that are zero but for rounding may differ.
    assert float((first[0] - second[0]).norm() / second[0].norm()) < 0.02


@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean-token-mean"])
def test_packing_does_not_change_the_update(make_model: Make, aggregation: str) -> None:
    groups = [group(0), group(1)]
    loss = PPOClip(aggregation=aggregation)
    shared = updated(make_model, make_packs([group_samples(g) for g in groups], 10_000), loss)
    unshared = updated(make_model, make_packs([sample for g in groups for sample in flat(g)], 10_000), loss)
    small = updated(make_model, make_packs([group_samples(g) for g in groups], 40), loss)
    single = updated(make_model, make_packs([sample for g in groups for sample in flat(g)], 1), loss)
    for other in (unshared, small, single):
        assert_same_update(shared, other)


def test_the_loss_is_transformers_loss(make_model: Make) -> None:
    model = make_model()
    ids = [5, 7, 11, 13, 17]
    mask = [False, False, True, True, True]
    metrics = Learner(model, EXACT, total_steps=1).step(make_packs([[make_sample(ids, mask)]], 100), cross_entropy)
    theirs = make_model()(torch.tensor([ids]), labels=torch.tensor([[-100, -100, 11, 13, 17]])).loss
    assert metrics["loss"] == pytest.approx(float(theirs.detach()), abs=1e-5)


def test_on_policy_the_clipped_surrogate_is_the_policy_gradient(make_model: Make) -> None:
    def policy_gradient(inputs: LossInputs) -> LossOutput:
        return LossOutput(-(inputs.advantages * inputs.logprobs).sum() / inputs.num_tokens)

    packs = make_packs([group_samples(group())], 10_000)
    clipped, metrics = updated(make_model, packs, PPOClip())
    plain, plain_metrics = updated(make_model, packs, policy_gradient)
    assert metrics["actor/grad_norm"] == pytest.approx(plain_metrics["actor/grad_norm"], rel=1e-5)
    assert float((clipped - plain).norm() / plain.norm()) < 0.02
    assert metrics["actor/pg_clipfrac"] == 0 and metrics["actor/ppo_kl"] == pytest.approx(0, abs=1e-7)


def test_a_positive_advantage_makes_a_sample_likelier_and_a_negative_one_less_likely(make_model: Make) -> None:
    counts = {"num_tokens": 10**6, "num_sequences": 1, "num_observations": 0}
    made = group()
    for sign, trajectory in zip((1, 1, -1, -1), made, strict=True):
        trajectory.set_advantage(float(sign))
    model = make_model()
    learner = Learner(model, EXACT, total_steps=1)

    def scores() -> list[float]:
        found = []
        for trajectory in made:
            [pack] = make_packs(flat(Group("t", [trajectory])), 1000)
            with torch.no_grad():
                found.append(float(learner._inputs(pack, counts, frozenset(), {}, 1.0).logprobs.mean()))
        return found

    before = scores()
    learner.step(make_packs([group_samples(made)], 1000), PPOClip())
    assert [after > b for after, b in zip(scores(), before, strict=True)] == [True, True, False, False]


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_it_learns_four_sequences_by_heart(make_model: Make, name: str) -> None:
    stream = random.Random(0)
    samples = [make_sample([n, *(stream.randrange(60) for _ in range(12))], [False] + [True] * 12) for n in range(4)]
    config = LearnerConfig(dtype="float32", optimizer=OptimizerConfig(name=name, lr=1e-2))
    learner = Learner(make_model(), config, total_steps=40)
    losses = [learner.step(make_packs([[sample] for sample in samples], 1000), cross_entropy)["loss"] for _ in range(40)]
    assert losses[0] > 3.5 and losses[-1] < 0.1


def test_a_mismatch_between_sampler_and_trainer_is_reported(make_model: Make) -> None:
    made, model = group(), make_model()
    for trajectory in made:
        for node in trajectory.generations():
            assert node.parent is not None
            before = trajectory.token_ids(node.parent)
            logits = model(torch.tensor([before + node.token_ids])).logits[0, len(before) - 1 : -1]
            node.logprobs = logits.log_softmax(-1)[torch.arange(len(node.token_ids)), node.token_ids].tolist()

    def reported() -> float:
        packs = make_packs([group_samples(made)], 60)
        return Learner(copy.deepcopy(model), EXACT, total_steps=1).step(packs, PPOClip())["rollout_corr/max_abs_diff"]

    assert reported() < 1e-4
    made.trajectories[2].nodes[1].logprobs[1] += 0.25
    assert reported() == pytest.approx(0.25, abs=1e-4)


def test_the_sampling_temperature_is_the_trainers(make_model: Make) -> None:
    [pack] = make_packs([group_samples(group())], 1000)
    seen: dict[float, Tensor] = {}
    for temperature in (1.0, 0.5):

        def remember(inputs: LossInputs, at: float = temperature) -> LossOutput:
            seen[at] = inputs.logprobs.detach()
            return PPOClip()(inputs)

        Learner(make_model(), EXACT, total_steps=1).step([pack], remember, temperature=temperature)
    assert (seen[0.5] - seen[1.0]).abs().max() > 0.1


def test_a_step_without_packs_changes_nothing(make_model: Make) -> None:
    model = make_model()
    learner = Learner(model, EXACT, total_steps=2)
    metrics = learner.step([], PPOClip())
    assert metrics["actor/grad_norm"] == 0 and learner.step_number == 1
    assert not change(model, make_model()).any()


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_saved_learner_goes_on_as_if_nothing_had_happened(make_model: Make, name: str) -> None:
    config = LearnerConfig(dtype="float32", optimizer=OptimizerConfig(name=name))
    packs = [make_packs([group_samples(group(seed))], 1000) for seed in range(6)]

    def learner(model: PreTrainedModel) -> Learner:
        return Learner(model, config, total_steps=6)

    whole = learner(make_model())
    for step in packs:
        whole.step(step, PPOClip())
    first = learner(make_model())
    for step in packs[:3]:
        first.step(step, PPOClip())
    second = learner(copy.deepcopy(first.model))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for step in packs[3:]:
        second.step(step, PPOClip())
    assert second.step_number == 6
    assert not change(second.model, whole.model).any()


def test_bfloat16_learns_in_float32_parameters(make_model: Make) -> None:
    model = make_model()
    learner = Learner(model, LearnerConfig(dtype="bfloat16"), total_steps=1)
    metrics = learner.step(make_packs([group_samples(group())], 1000), PPOClip())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    exact = updated(make_model, make_packs([group_samples(group())], 1000), PPOClip())[1]
    assert metrics["actor/grad_norm"] == pytest.approx(exact["actor/grad_norm"], rel=0.1)


def test_compute_types() -> None:
    assert compute_dtype("float32") == torch.float32 and compute_dtype("bfloat16") == torch.bfloat16
    assert compute_dtype("auto", "cuda") == torch.bfloat16
    assert compute_dtype("auto") in (torch.float32, torch.bfloat16)


class _Wants:
    """A loss that records what it is given."""

    def __init__(self, *needs: str) -> None:
        self.needs = frozenset(needs)
        self.seen: list[LossInputs] = []

    def __call__(self, inputs: LossInputs) -> LossOutput:
        self.seen.append(inputs)
        return LossOutput(inputs.logprobs.sum() * 0)


def test_an_objective_is_given_the_columns_that_it_needs(make_model: Make) -> None:
    made = group()
    for number, trajectory in enumerate(made):
        trajectory.reward = float(number)
        for node in trajectory.generations():
            node.entropies = [0.5] * len(node.token_ids)
    packs = make_packs([group_samples(made)], 10_000)
    model = make_model()
    reference = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    learner = Learner(model, EXACT, total_steps=2, frozen={"reference_logprobs": ModelWeights(model.config, reference)})
    wants = _Wants("rewards", "observations", "entropy", "entropy_history", "reference_logprobs")
    learner.step(packs, wants)
    [inputs] = wants.seen
    assert inputs.rewards is not None and inputs.observations is not None and inputs.entropy is not None
    assert inputs.rewards.unique().tolist() == [0.0, 1.0, 2.0, 3.0]
    # One observation of three tokens stands before the last turn of each; the one after it is cut off.
    assert len(inputs.observations) == inputs.num_observations == 12
    assert inputs.observations.requires_grad and inputs.entropy.requires_grad
    assert 0 < inputs.entropy.detach().min() <= inputs.entropy.detach().max() <= math.log(60)
    assert inputs.entropy_history == pytest.approx(0.5)
    torch.testing.assert_close(inputs.reference_logprobs, inputs.logprobs.detach())

    # After an update the policy has moved and the reference has not.
    learner.step(packs, PPOClip())
    learner.step(packs, wants)
    assert not torch.allclose(wants.seen[1].reference_logprobs, wants.seen[1].logprobs.detach())
    torch.testing.assert_close(wants.seen[1].reference_logprobs, inputs.reference_logprobs)

    plain = _Wants()
    learner.step(packs, plain)
    assert plain.seen[0].reference_logprobs is plain.seen[0].entropy is plain.seen[0].observations is None
    with pytest.raises(ValueError, match="needs reference_logprobs, and the learner was made without that model"):
        Learner(make_model(), EXACT, total_steps=1).step(packs, _Wants("reference_logprobs"))
