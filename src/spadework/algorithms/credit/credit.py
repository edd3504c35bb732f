"""The credit contract: what turns rewards into one advantage per policy token.

A rule is called with a scored group and writes `advantages` on the nodes; `assign` takes all groups of a step, for rules that compare over
the batch. It never reads tokens, models or the order of arrival. Broken trajectories (invariant 4) are no part of any baseline; those that
a selection rule keeps for the baseline only count in it. Both end without advantages, and packing leaves them out. A new rule needs
`baseline` and `usable`, or `members` where it reads more than the reward. Rules are torch-free.
"""

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from spadework.core.registry import Part, Registry
from spadework.trajectories.tree import Group, Status, Trajectory

__all__ = [
    "BatchRule",
    "CreditError",
    "CreditRule",
    "baseline",
    "credit_rules",
    "members",
    "moments",
    "register",
    "set_turns",
    "usable",
    "z_score",
]


class CreditError(ValueError):
    """Credit cannot be assigned to this group."""


class CreditRule(Part):
    """A rule with options; its defaults are the published setting."""

    reads: ClassVar[frozenset[str]] = frozenset()
    """What it needs beyond trajectory rewards: `turn_rewards`, `span_rewards`, `values`, `entropies`, `roles`, `forks`, `objectives`."""
    uses: ClassVar[frozenset[str]] = frozenset()
    """What else it takes into account where it is there, by the same names."""

    one_of: ClassVar[frozenset[str]] = frozenset()
    """Of these it needs at least one, by the same names; they stand in `uses` too."""

    @abstractmethod
    def __call__(self, group: Group) -> None:
        """Write advantages on the sampled tokens of the group's trajectories that are trained on.

        Raises:
            CreditError: the group cannot be compared, for example because one trajectory is left, or lacks what the rule reads.
        """

    def assign(self, groups: Sequence[Group]) -> None:
        """Write the advantages of all groups of a step."""
        for group in groups:
            self(group)


class BatchRule(CreditRule):
    """A rule that compares over all groups of a step; called with one group, it takes that for the whole step."""

    def __call__(self, group: Group) -> None:
        """See `CreditRule`."""
        self.assign([group])

    @abstractmethod
    def assign(self, groups: Sequence[Group]) -> None:
        """See `CreditRule`."""


credit_rules: Registry[CreditRule] = Registry("credit rule", "spadework.algorithms.credit")
"""All registered rules."""
register = credit_rules.register


def members(group: Group) -> list[Trajectory]:
    """The unbroken trajectories, which the baseline is made of.

    Raises:
        CreditError: fewer than two are left, so there is nothing to compare.
    """
    kept = [trajectory for trajectory in group if trajectory.status is not Status.BROKEN]
    if len(kept) < 2:
        raise CreditError(
            f"group {group.key} has {len(kept)} unbroken of {len(group)} trajectories; a baseline needs at least two trajectories. "
            "Sample more per task, or select with `broken` first, which drops such groups."
        )
    return kept


def usable(group: Group) -> list[Trajectory]:
    """The trajectories that are trained on; the others lose any advantages that they have."""
    kept = []
    for trajectory in group:
        if trajectory.trained:
            kept.append(trajectory)
        else:
            for node in trajectory.nodes:
                node.advantages = []
    return kept


def baseline(group: Group) -> tuple[float, float]:
    """Mean and sample standard deviation of the rewards of the unbroken trajectories.

    Raises:
        CreditError: fewer than two are left.
    """
    return moments(trajectory.reward for trajectory in members(group))


def moments(values: Iterable[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (divisor n - 1); the deviation of a single value is 0.

    The papers do not say which standard deviation they mean; verl and TRL use the sample one, so published curves do.
    """
    values = list(values)
    if len(values) == 1:
        return values[0], 0.0
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(1, len(values) - 1))


def z_score(value: float, mean: float, std: float, epsilon: float) -> float:
    """(value - mean) / (std + epsilon), and 0 where there is no spread: then every deviation is rounding, which epsilon would magnify."""
    return (value - mean) / (std + epsilon) if std > 1e-9 * max(1.0, abs(mean)) else 0.0


def set_turns(trajectory: Trajectory, advantages: Iterable[float]) -> None:
    """Give every token of each policy turn the turn's advantage.

    Args:
        trajectory: its nodes are written.
        advantages: one per generation node, in their order.
    """
    turns = iter(advantages)
    for node in trajectory.nodes:
        node.set_advantage(next(turns) if node.kind == "generation" else 0.0)
