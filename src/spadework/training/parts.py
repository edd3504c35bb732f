"""The parts of an RL recipe, made and checked together before anything runs.

A part may need what another part, or the learner, has to supply: a credit rule reads turn rewards, a loss reads the log-probabilities of a
reference. What nobody supplies, and what nobody reads, is an error here, with the reason (invariant 5), and not a silent 0 in step 500.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spadework.algorithms.credit.credit import CreditRule, credit_rules
from spadework.algorithms.losses.objective import Objective, build_objective
from spadework.algorithms.selection.chain import Chain
from spadework.core.errors import ConfigError
from spadework.rewards.reward import Rubric

__all__ = ["SUPPLIED_COLUMNS", "SUPPLIED_RECORDS", "Parts", "build_parts"]

Spec = Mapping[str, Mapping[str, Any]]

SUPPLIED_COLUMNS = frozenset({"rewards", "observations", "entropy", "entropy_history", "reference_logprobs"})
"""Columns of `LossInputs` that the learner makes where an objective needs them."""
SUPPLIED_RECORDS = frozenset({"entropies", "roles"})
"""What every trajectory has beside its reward."""
_REASONS = {
    "turn_rewards": "add a reward of turns to rl.rewards, such as turn-format",
    "span_rewards": "add a reward of spans to rl.rewards, such as last-token",
    "objectives": "add a second reward of trajectories to rl.rewards, because one objective is normalised by grpo",
    "values": "add a critic, rl.critic: {}",
    "forks": "the run does not fork trajectories: set rl.rollout to arpo, aepo or tree",
    "teacher_logprobs": "name a checkpoint as rl.teacher",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the RL loop calls, in this order."""

    rubric: Rubric
    selection: Chain
    credit: CreditRule
    objective: Objective


def build_parts(
    rewards: Spec,
    selection: Spec,
    credit: Spec,
    loss: Spec,
    *,
    on_error: Literal["stop", "drop"] = "stop",
    forks: bool = False,
    critic: bool = False,
    teacher: bool = False,
) -> Parts:
    """Make the parts that a recipe names.

    Args:
        rewards: {reward: {weight, options}}.
        selection: {rule: {options}}, in order.
        credit: {rule: {options}}, exactly one.
        loss: {part: {options}}, exactly one surrogate.
        on_error: what a reward that raises does to the run.
        forks: whether the rollout forks trajectories.
        critic: whether the run has one.
        teacher: whether the run has one.

    Raises:
        ConfigError: an unknown name or option; a part reads what nobody supplies; a reward, a critic or a teacher that no part reads.
    """
    if len(credit) != 1:
        raise ConfigError(f"rl.credit: expected exactly one rule, found {', '.join(credit) or 'none'}")
    if "value" in loss:
        raise ConfigError("rl.loss: 'value' is the loss of a critic, which is a model of its own; set rl.critic: {clip: 0.5} instead")
    [(name, options)] = credit.items()
    parts = Parts(
        Rubric.build(rewards, source="rl.rewards", on_error=on_error),
        Chain.build(selection, source="rl.selection"),
        credit_rules.build(name, options, source="rl.credit"),
        build_objective(loss, "rl.loss"),
    )
    supplied = parts.rubric.supplies
    made = ({"values"} if critic else set()) | ({"forks"} if forks else set())
    for missing in sorted(parts.credit.reads - supplied - made - SUPPLIED_RECORDS):
        raise ConfigError(f"rl.credit: '{name}' reads {missing}, which nothing supplies; {_REASONS[missing]}, or take another rule")
    if parts.credit.one_of and not parts.credit.one_of & supplied:
        named = " or ".join(sorted(parts.credit.one_of))
        raise ConfigError(f"rl.credit: '{name}' reads {named}, which nothing supplies; {_REASONS['turn_rewards']}, or take another rule")
    # Rules that do not tell objectives apart read their sum.
    for unread in sorted(supplied - parts.credit.reads - parts.credit.uses - {"objectives"}):
        raise ConfigError(f"rl.rewards: no credit rule reads {unread}; '{name}' does not, so set their weight to 0 or take another rule")
    if critic and "values" not in parts.credit.reads | parts.credit.uses:
        raise ConfigError(f"rl.critic: '{name}' reads no values, so a critic has no effect; take gae as rl.credit, or leave rl.critic out")
    taught = {"teacher_logprobs"} if teacher else set()
    if taught - parts.objective.needs:
        raise ConfigError("rl.teacher: no part of rl.loss reads teacher_logprobs; add failure-kl, or leave rl.teacher out")
    for missing in sorted(parts.objective.needs - SUPPLIED_COLUMNS - taught):
        raise ConfigError(f"rl.loss: a part needs {missing}, which nothing supplies; {_REASONS[missing]}")
    return parts
