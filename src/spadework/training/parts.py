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
    "values": "the run has no critic",
    "old_values": "the run has no critic",
    "returns": "the run has no critic",
    "forks": "the run does not fork trajectories: set rl.rollout to arpo, aepo or tree",
    "teacher_logprobs": "the run has no teacher",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the RL loop calls, in this order."""

    rubric: Rubric
    selection: Chain
    credit: CreditRule
    objective: Objective


def build_parts(
    rewards: Spec, selection: Spec, credit: Spec, loss: Spec, *, on_error: Literal["stop", "drop"] = "stop", forks: bool = False
) -> Parts:
    """Make the parts that a recipe names.

    Args:
        rewards: {reward: {weight, options}}.
        selection: {rule: {options}}, in order.
        credit: {rule: {options}}, exactly one.
        loss: {part: {options}}, exactly one surrogate.
        on_error: what a reward that raises does to the run.
        forks: whether the rollout forks trajectories.

    Raises:
        ConfigError: an unknown name or option; a part reads what nobody supplies; a reward that no credit rule reads.
    """
    if len(credit) != 1:
        raise ConfigError(f"rl.credit: expected exactly one rule, found {', '.join(credit) or 'none'}")
    [(name, options)] = credit.items()
    parts = Parts(
        Rubric.build(rewards, source="rl.rewards", on_error=on_error),
        Chain.build(selection, source="rl.selection"),
        credit_rules.build(name, options, source="rl.credit"),
        build_objective(loss, "rl.loss"),
    )
    supplied = parts.rubric.supplies
    for missing in sorted(parts.credit.reads - supplied - SUPPLIED_RECORDS - ({"forks"} if forks else set())):
        raise ConfigError(f"rl.credit: '{name}' reads {missing}, which nothing supplies; {_REASONS[missing]}, or take another rule")
    for unread in sorted(supplied - parts.credit.reads - parts.credit.uses):
        raise ConfigError(f"rl.rewards: no credit rule reads {unread}; '{name}' does not, so set their weight to 0 or take another rule")
    for missing in sorted(parts.objective.needs - SUPPLIED_COLUMNS):
        raise ConfigError(f"rl.loss: a part needs {missing}, which nothing supplies; {_REASONS[missing]}")
    return parts
