"""The credit contract: what turns the rewards of a group into one advantage per policy token.

A rule is called with a scored group and writes `advantages` on the nodes. It never reads tokens, models or the order of arrival. Broken
trajectories (invariant 4) are no part of the baseline and end without advantages, so packing leaves them out; `baseline` and `usable`
are the two functions that a new rule needs for that. Rules are torch-free.
"""

import math
from abc import abstractmethod

from spadework.core.config import Config
from spadework.core.registry import Registry
from spadework.trajectories.tree import Group, Status, Trajectory

__all__ = ["CreditError", "CreditRule", "baseline", "credit_rules", "register", "usable"]


class CreditError(ValueError):
    """Credit cannot be assigned to this group."""


class CreditRule(Config):
    """A rule with options; its defaults are the published setting. Any callable (Group) -> None may stand in for one."""

    @abstractmethod
    def __call__(self, group: Group) -> None:
        """Write advantages on the sampled tokens of the group's unbroken trajectories.

        Raises:
            CreditError: the group cannot be compared, for example because one trajectory is left.
        """


credit_rules: Registry[CreditRule] = Registry("credit rule", "spadework.algorithms.credit")
"""All registered rules."""
register = credit_rules.register


def usable(group: Group) -> list[Trajectory]:
    """The group's unbroken trajectories; the broken ones lose any advantages that they have."""
    kept = []
    for trajectory in group:
        if trajectory.status is Status.BROKEN:
            for node in trajectory.nodes:
                node.advantages = []
        else:
            kept.append(trajectory)
    return kept


def baseline(group: Group) -> tuple[float, float]:
    """Mean and sample standard deviation (divisor n - 1) of the rewards of the unbroken trajectories.

    The papers do not say which standard deviation they mean; verl and TRL use the sample one, so published curves do.

    Raises:
        CreditError: fewer than two are left, so there is nothing to compare.
    """
    rewards = [trajectory.reward for trajectory in group if trajectory.status is not Status.BROKEN]
    if len(rewards) < 2:
        raise CreditError(
            f"group {group.key} has {len(rewards)} unbroken of {len(group)} trajectories; a baseline needs at least two trajectories. "
            "Sample more per task, or select with `broken` first, which drops such groups."
        )
    mean = math.fsum(rewards) / len(rewards)
    return mean, math.sqrt(math.fsum((reward - mean) ** 2 for reward in rewards) / (len(rewards) - 1))
