"""Several optimiser updates on one batch: ratios are to the weights at the start of the step, and clips cut."""

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from spadework.algorithms.losses.loss import LossInputs, LossOutput
from spadework.algorithms.losses.objective import build_objective
from spadework.algorithms.losses.ppo_clip import PPOClip
from spadework.training.learner import Learner, LearnerConfig
from spadework.training.optimizer import OptimizerConfig
from spadework.training.packed import ModelWeights
from spadework.trajectories.packing import Pack, group_samples, make_packs, step_samples
from spadework.trajectories.tree import Group, Trajectory

Make = Callable[..., PreTrainedModel]
CONFIG = LearnerConfig(dtype="float32", optimizer=OptimizerConfig(name="adamw", lr=3e-3, warmup=0, decay=0, max_grad_norm=1e9))


def make_group(seed: int, advantages: tuple[float, ...] = (1.0, -1.0)) -> Group:
    """Attempts at one task, a turn after the prompt and one after a result."""
    stream = random.Random(seed)

    def tokens(count: int) -> list[int]:
        return [stream.randrange(60) for _ in range(count)]

    prompt, made = tokens(5), Group(f"t{seed}", [])
    for sample, advantage in enumerate(advantages):
        trajectory = Trajectory(made.key, sample)
        trajectory.add("prompt", prompt, parent=None)
        for turn in range(2):
            sampled = tokens(stream.randint(2, 5))
            node = trajectory.add("generation", sampled, parent=2 * turn, logprobs=[-2.0] * len(sampled))
            trajectory.add("observation", tokens(2), parent=node.id)
        trajectory.set_advantage(advantage)
        made.trajectories.append(trajectory)
    return made


class Watched:
    """A loss that keeps what it is given."""

    def __init__(self, loss: Callable[[LossInputs], LossOutput], needs: frozenset[str] = frozenset()) -> None:
        self.loss, self.needs = loss, needs
        self.seen: list[LossInputs] = []

    def __call__(self, inputs: LossInputs) -> LossOutput:
        self.seen.append(inputs)
        return self.loss(inputs)


def expected(model: PreTrainedModel, pack: Pack, groups: list[Group]) -> Tensor:
    """Log-probabilities of the pack's targets by transformers' own forward pass, found by the tokens' numbers."""
    by_number: list[float] = []
    for trajectory in (trajectory for group in groups for trajectory in group):
        ids = torch.tensor([trajectory.token_ids(trajectory.nodes[-1].id)])
        with torch.no_grad():
            logprobs = model(ids).logits[0].log_softmax(-1)
        place = 0
        for node in trajectory.nodes:
            if node.kind == "generation":
                by_number += [float(logprobs[place + i - 1, token]) for i, token in enumerate(node.token_ids)]
            place += len(node.token_ids)
    return torch.tensor([by_number[number] for number in pack.numbers])


def test_old_logprobs_are_those_of_the_start_of_the_step(make_model: Make) -> None:
    groups = [make_group(seed) for seed in range(3)]
    families = step_samples(groups)
    # Other packs, in another order, than those from which the old log-probabilities are computed.
    updates = [make_packs(chosen, 15) for chosen in ([families[2], families[0]], [families[1]], [families[1], families[2]], [families[0]])]
    model = make_model()
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    learner = Learner(model, CONFIG, total_steps=1, frozen={"reference_logprobs": ModelWeights(model.config, start)})
    watched = Watched(PPOClip(), frozenset({"reference_logprobs"}))
    metrics = learner.step(make_packs(families, 10_000), watched, updates=updates)
    packs = [pack for update in updates for pack in update]
    assert len(watched.seen) == len(packs) > len(updates)
    for pack, inputs in zip(packs, watched.seen, strict=True):
        torch.testing.assert_close(inputs.old_logprobs, expected(make_model(), pack, groups), rtol=0, atol=1e-4)
        # The policy that the stage started from is the same here, and just as constant.
        torch.testing.assert_close(inputs.reference_logprobs, inputs.old_logprobs)
    moved = [float((inputs.logprobs.detach() - inputs.old_logprobs).abs().max()) for inputs in watched.seen]
    assert moved[0] < 1e-4 and moved[-1] > 0.02, "the first update starts at ratio 1, the last does not"
    # Counts are those of the update.
    counts = [(sum(len(pack.targets) for pack in update), sum(pack.num_sequences for pack in update)) for update in updates]
    seen = iter(watched.seen)
    for update, count in zip(updates, counts, strict=True):
        assert {(inputs.num_tokens, inputs.num_sequences) for inputs in (next(seen) for _ in update)} == {count}
    # Mismatch is trainer against sampler at the start, not how far the step has moved.
    worst = max(float((inputs.old_logprobs - inputs.sampler_logprobs).abs().max()) for inputs in watched.seen)
    assert metrics["rollout_corr/max_abs_diff"] == pytest.approx(worst)
    assert metrics["actor/ppo_kl"] != 0 and metrics["actor/lr"] == CONFIG.optimizer.lr and learner.step_number == 1


def test_one_update_measures_against_itself(make_model: Make) -> None:
    packs = make_packs(step_samples([make_group(0)]), 10_000)
    watched = Watched(PPOClip())
    metrics = Learner(make_model(), CONFIG, total_steps=1).step(packs, watched)
    [inputs] = watched.seen
    assert torch.equal(inputs.old_logprobs, inputs.logprobs.detach()) and not inputs.old_logprobs.requires_grad
    assert metrics["actor/ppo_kl"] == 0 and metrics["actor/pg_clipfrac"] == 0
    # Naming that one update changes nothing, to the last bit, although its old log-probabilities are then not needed.
    first, second = make_model(), make_model()
    Learner(first, CONFIG, total_steps=1).step(packs, PPOClip())
    Learner(second, CONFIG, total_steps=1).step(packs, PPOClip(), updates=[packs])
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("surrogate", ["ppo-clip", "aepo", "cispo", "gspo", "gmpo", "sequence-clip"])
def test_a_range_of_nothing_stops_the_second_pass_where_the_first_has_moved(make_model: Make, surrogate: str) -> None:
    # One sampled token with advantage 1: the first pass makes it likelier, and a range that ends at ratio 1 then cuts it off.
    options = {"clip_high": 0.0} | ({} if surrogate == "cispo" else {"clip_low": 0.0})
    objective = build_objective({surrogate: options})
    trajectory = Trajectory("t")
    trajectory.add("prompt", [3, 4, 5], parent=None)
    trajectory.add("generation", [7], parent=0, logprobs=[-2.0])
    trajectory.set_advantage(1.0)
    packs = make_packs(step_samples([Group("t", [trajectory])]), 10_000)
    watched = Watched(objective)
    once = Learner(make_model(), CONFIG, total_steps=1).step(packs, objective)
    twice = Learner(make_model(), CONFIG, total_steps=1).step(packs, watched, updates=[packs, packs])
    assert bool((watched.seen[1].logprobs > watched.seen[1].old_logprobs).all())
    assert once["actor/pg_clipfrac"] == 0 and twice["actor/pg_clipfrac"] == 0.5  # mean over two updates: none, all
    if surrogate in ("ppo-clip", "gspo", "gmpo", "sequence-clip"):
        assert twice["actor/grad_norm"] == pytest.approx(once["actor/grad_norm"] / 2), "the second update has no gradient"
    else:
        assert twice["actor/grad_norm"] > 0.6 * once["actor/grad_norm"], "these keep the gradient of the bound"


def test_a_narrow_range_moves_less(make_model: Make) -> None:
    packs = make_packs(step_samples([make_group(seed) for seed in range(2)]), 10_000)

    def moved(clip: float) -> float:
        watched = Watched(PPOClip(clip_low=clip, clip_high=clip))
        Learner(make_model(), CONFIG, total_steps=1).step(packs, watched, updates=[packs] * 8)
        return float((watched.seen[-1].logprobs.detach() - watched.seen[-1].old_logprobs).abs().mean())

    assert moved(0.05) < 0.7 * moved(1.0)


def test_numbers_that_are_not_of_one_step_are_refused(make_model: Make) -> None:
    packs = make_packs([group_samples(make_group(seed)) for seed in range(2)], 10_000)
    with pytest.raises(ValueError, match="two policy tokens of the step have one number; make the packs of a step from `step_samples`"):
        Learner(make_model(), CONFIG, total_steps=1).step(packs, PPOClip(), updates=[packs, packs])
