"""Every credit rule with every selection rule and every loss: it runs on made-up groups, and is refused at load time without what it reads.

Parts are chosen on purpose without regard to whether they make sense together: what is allowed must give finite numbers.
"""

import random
from dataclasses import replace
from functools import cache

import pytest
import torch

from spadework.algorithms.credit.credit import credit_rules
from spadework.algorithms.losses.loss import Correction, LossInputs, Surrogate, Term, losses
from spadework.algorithms.losses.objective import build_objective
from spadework.algorithms.selection.selection import selection_rules
from spadework.core.errors import ConfigError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.tasks.task import Task
from spadework.training.parts import Parts, build_parts
from spadework.trajectories.packing import Pack, group_samples, make_packs
from spadework.trajectories.tree import Group, Status, Trajectory

REWARDS = {
    "objectives": {"format-penalty": {"weight": 0.1}},
    "turn_rewards": {"turn-format": {}},
    "span_rewards": {"last-token": {"of": {"turn-format": {}}}},
}
SURROGATES, CORRECTIONS, TERMS = (
    [name for name in losses.names() if issubclass(losses.get(name), kind)] for kind in (Surrogate, Correction, Term)
)


def made_groups() -> tuple[list[Task], list[Group]]:
    """Three groups of searches, one fork in each, with all that a trajectory can have."""
    stream, tasks, groups = random.Random(0), [], []
    for key in "abc":
        group = Group(key, [])
        for sample in range(6):
            trajectory = group.trajectories[0].fork(2, 5) if sample == 5 else Trajectory(key, sample)
            if sample < 5:
                trajectory.add("prompt", [1, 2], parent=None)
            for turn in range(len(trajectory.nodes) // 2, 2 + sample % 2):
                said = Turn(calls=(ToolCall(name="search"),)) if turn else Turn(answer="x")
                size = stream.randint(1, 4)
                node = trajectory.add(
                    "generation",
                    stream.choices(range(50), k=size),
                    parent=len(trajectory.nodes) - 1,
                    logprobs=[-stream.random() for _ in range(size)],
                    entropies=[stream.random() for _ in range(size)],
                    messages=[Message(role="assistant", turn=said)],
                )
                trajectory.add("observation", [9, 9], parent=node.id, meta={"calls": [{"status": stream.choice(["ok", "error"])}]})
            for node in trajectory.generations():
                node.values = [stream.random() for _ in node.token_ids]
            trajectory.status, trajectory.answer = (Status.TRUNCATED, None) if sample == 4 else (Status.COMPLETED, "xy"[sample % 2])
            group.trajectories.append(trajectory)
        tasks.append(Task(id=key, question="?", answers=("x",)))
        groups.append(group)
    return tasks, groups


def rewards_for(credit: str) -> dict:
    """An answer reward, and what else the rule reads or takes into account."""
    rule = credit_rules.get(credit)
    found: dict = {"em": {}}
    for name in sorted((rule.reads | rule.uses) & REWARDS.keys()):
        found |= REWARDS[name]
    return found


def packs(parts: Parts) -> list[Pack]:
    tasks, groups = made_groups()
    assert parts.rubric.score_groups(tasks, groups) == 0
    kept, _ = parts.selection.count(groups, seed=1)
    parts.credit.assign(kept)
    return make_packs([group_samples(group) for group in kept], 64)


@cache
def credited(credit: str, selection: str) -> list[Pack]:
    """The packs do not depend on the loss."""
    return packs(build_parts(rewards_for(credit), {selection: {}}, {credit: {}}, {"ppo-clip": {}}, **given_all(credit, {})))


def inputs(pack: Pack, all_packs: list[Pack]) -> LossInputs:
    """Toy tensors in place of a model, with all columns that a learner can make."""
    size = len(pack.targets)

    def noise(offset: float, scale: float, count: int = size) -> torch.Tensor:
        return offset + scale * torch.randn(count, generator=torch.Generator().manual_seed(size))

    seen = len(pack.observations)
    return LossInputs(
        logprobs=noise(-1.0, 0.5).requires_grad_(),
        old_logprobs=torch.full((size,), -1.0),
        sampler_logprobs=torch.from_numpy(pack.sampler_logprobs),
        advantages=torch.from_numpy(pack.advantages),
        sequence_ids=torch.from_numpy(pack.sequence_ids),
        num_tokens=sum(len(each.targets) for each in all_packs),
        num_sequences=sum(each.num_sequences for each in all_packs),
        entropies=torch.from_numpy(pack.entropies),
        reference_logprobs=noise(-1.1, 0.3),
        teacher_logprobs=noise(-0.9, 0.3),
        rewards=torch.from_numpy(pack.rewards),
        entropy=noise(1.0, 0.1).requires_grad_(),
        entropy_history=1.0,
        observations=noise(-2.0, 0.1, seen).requires_grad_(),
        num_observations=sum(len(each.observations) for each in all_packs),
    )


def finite(made: list[Pack], loss: dict) -> None:
    objective = build_objective(loss, "loss")
    for pack in made:
        if len(pack.targets):
            given = inputs(pack, made)
            output = objective(replace(given, **{name: None for name in OPTIONAL - objective.needs}))
            [gradient] = torch.autograd.grad(output.loss, [given.logprobs], allow_unused=True)
            assert output.loss.isfinite() and (gradient is None or gradient.isfinite().all())
            assert all(value == value and abs(value) < 1e30 for value in output.metrics.values())


OPTIONAL = frozenset().union(*(losses.get(name).needs for name in losses.names()))


def given_all(credit: str, loss: dict) -> dict[str, bool]:
    """The parts of a run beside the rules that these two read, and no others, because what nobody reads is refused."""
    reads, needs = credit_rules.get(credit).reads, frozenset().union(*(losses.get(name).needs for name in loss))
    return {"forks": "forks" in reads, "critic": "values" in reads, "teacher": "teacher_logprobs" in needs}


@pytest.mark.parametrize("credit", credit_rules.names())
def test_every_triple_runs_and_is_refused_without_what_it_reads(credit: str) -> None:
    for selection in selection_rules.names():
        for surrogate in SURROGATES:
            spec = (rewards_for(credit), {selection: {}}, {credit: {}}, {surrogate: {}})
            supplied = given_all(credit, {surrogate: {}})
            for name, used in supplied.items():
                if used:
                    with pytest.raises(ConfigError, match=f"'{credit}' reads (forks|values), which nothing supplies; "):
                        build_parts(*spec, **(supplied | {name: False}))
            build_parts(*spec, **supplied)
            assert credited(credit, selection)
            finite(credited(credit, selection), {surrogate: {}})
    assert any((pack.advantages != 0).any() for pack in credited(credit, "broken"))


@pytest.mark.parametrize("part", [*CORRECTIONS, *TERMS])
def test_every_correction_and_term_runs_or_is_refused_with_a_reason(part: str) -> None:
    for surrogate in SURROGATES:
        loss: dict = {surrogate: {}, part: {}}
        spec = ({"em": {}}, {}, {"grpo": {}}, loss)
        build_parts(*spec, **given_all("grpo", loss))
        if "teacher_logprobs" in losses.get(part).needs:
            with pytest.raises(ConfigError, match="a part needs teacher_logprobs, which nothing supplies; "):
                build_parts(*spec)
        finite(credited("grpo", "broken"), loss)  # the part itself runs wherever its columns come from


@pytest.mark.parametrize("credit", [name for name in credit_rules.names() if credit_rules.get(name).reads & REWARDS.keys()])
def test_a_rule_without_its_rewards_is_refused_by_their_name(credit: str) -> None:
    [missing] = credit_rules.get(credit).reads & REWARDS.keys()
    with pytest.raises(ConfigError, match=f"'{credit}' reads {missing}, which nothing supplies; add a"):
        build_parts({"em": {}}, {}, {credit: {}}, {"ppo-clip": {}})
