"""What a loss adds to a learner's step: every surrogate, correction and term beside plain PPO's clip, on a model of hidden size 256.

Two figures. The arithmetic of the loss itself, forward and backward over all policy tokens of the step, as a share of the whole step with
`ppo-clip`; the bound is 5 %. And for parts that need another pass of the model (a reference, a teacher, the entropy, observations) the time
of a whole step with them, which is the model's cost and not the loss's; the teacher has the size of the policy here.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch

from benchmarks.models import new_policy
from benchmarks.table import Row
from spadework.algorithms.losses.loss import LossInputs, LossOutput, Surrogate, losses
from spadework.algorithms.losses.objective import build_objective
from spadework.models.checkpoint import parameters
from spadework.training.learner import Learner, LearnerConfig
from spadework.training.packed import ModelWeights
from spadework.trajectories.packing import Pack, make_packs, step_samples
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["BOUND", "rows"]

BOUND = 5.0
"""Percent of a step."""


def rows(preset: str, runs: int, *, layers: int | None = None, quick: bool = False) -> list[Row]:
    """A row per part of an objective, and one more per part that needs another pass of the model."""
    packs = _packs(tasks=1 if quick else 8)
    policy = new_policy(preset, layers=layers)
    weights = ModelWeights(policy.config, {name: tensor.detach().clone() for name, tensor in parameters(policy).items()})
    frozen = {"reference_logprobs": weights, "teacher_logprobs": weights}
    learner = Learner(policy, LearnerConfig(dtype="float32"), total_steps=1000, frozen=frozen)
    seen: list[LossInputs] = []

    def step(loss: Callable[[LossInputs], LossOutput]) -> float:
        begin = time.process_time()
        learner.step(packs, loss)
        return time.process_time() - begin

    objectives = {name: build_objective(_spec(name), "loss") for name in losses.names()}
    plain = objectives["ppo-clip"]
    supplied = {
        name for name in losses.names() if objectives[name].needs & {"entropy", "reference_logprobs", "teacher_logprobs", "observations"}
    }
    step(lambda inputs: (seen.append(inputs), plain(inputs))[1])
    whole = median(step(plain) for _ in range(runs))
    found = []
    for name, objective in objectives.items():
        share = 100 * median(sum(_arithmetic(objective, inputs) for inputs in seen) for _ in range(5 * runs)) / whole
        found.append(Row(f"loss_cost/{name}", round(share, 3), BOUND, round(BOUND / share, 1), "% of a step", 5 * runs, "the bound"))
    for name in sorted(supplied):
        both = [(step(objectives[name]), step(plain)) for _ in range(runs)]
        mine, theirs = (median(column) for column in zip(*both, strict=True))
        found.append(Row(f"step_with/{name}", round(mine, 3), round(theirs, 3), round(theirs / mine, 2), "s", runs, "ppo-clip alone"))
    return found


def _spec(name: str) -> dict[str, dict[str, object]]:
    return {name: {}} if issubclass(losses.get(name), Surrogate) else {"ppo-clip": {}, name: {}}


def _arithmetic(objective: Callable[[LossInputs], LossOutput], inputs: LossInputs) -> float:
    """Seconds of the loss and its gradient with respect to the columns that a model gives."""

    def column(offset: float) -> torch.Tensor:
        return (inputs.logprobs.detach() + offset).requires_grad_()

    given = replace(
        inputs,
        logprobs=column(0.0),
        entropy=column(3.0),
        entropy_history=1.0,
        reference_logprobs=column(0.1).detach(),
        teacher_logprobs=column(-0.1).detach(),
        rewards=inputs.advantages,
        observations=column(0.2),
        num_observations=inputs.num_tokens,
    )
    begin = time.process_time()
    objective(given).loss.backward()
    return time.process_time() - begin


def _packs(tasks: int, samples: int = 8, turns: int = 4, sampled: int = 32, observed: int = 32) -> list[Pack]:
    generator = torch.Generator().manual_seed(0)

    def tokens(count: int) -> list[int]:
        return torch.randint(2, 2000, (count,), generator=generator).tolist()

    groups = []
    for task in range(tasks):
        group, prompt = Group(str(task), []), tokens(64)
        for sample in range(samples):
            trajectory = Trajectory(str(task), sample, reward=float(sample % 2))
            trajectory.add("prompt", prompt, parent=None)
            for _ in range(turns):
                node = trajectory.add("generation", tokens(sampled), parent=len(trajectory.nodes) - 1, logprobs=[-8.0] * sampled)
                trajectory.add("observation", tokens(observed), parent=node.id)
            trajectory.set_advantage(1.0 if sample % 2 else -1.0)
            group.trajectories.append(trajectory)
        groups.append(group)
    return make_packs(step_samples(groups), 4400)
