"""Credit of forks: ARPO's soft and hard attribution (arXiv 2507.19849).

A_i is GRPO's, over all trajectories of the group. `soft` (the paper's default, and all that its code has): every copy of a shared prefix
keeps the advantage of its own trajectory. `hard`: all copies get the mean of the advantages of the trajectories through them. The copies
are trained each in its own sequence (see `trajectories/packing.py`), so on policy, where the ratio is 1, both add up to the same gradient
under a loss that weighs tokens alike; off policy the clip treats them differently.
"""

import math
from typing import ClassVar, Literal

from pydantic import Field

from spadework.algorithms.credit.credit import CreditRule, baseline, register, usable, z_score
from spadework.trajectories.tree import Group

__all__ = ["ARPO"]


@register(
    "arpo",
    formula="A = z(R_i); shared tokens: {attribution} (soft: each its own; hard: the mean of the forks)",
    source="arXiv 2507.19849; its code has soft only",
)
class ARPO(CreditRule):
    """A_i = z(R_i); on tokens that forks share, each its own (soft) or their mean (hard)."""

    reads: ClassVar[frozenset[str]] = frozenset({"forks"})

    attribution: Literal["soft", "hard"] = "soft"
    """What shared tokens get."""
    epsilon: float = Field(default=1e-6, ge=0)
    """Added to the standard deviation."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        mean, std = baseline(group)
        through: dict[tuple[int, int], list[float]] = {}
        trained = [(trajectory, z_score(trajectory.reward, mean, std, self.epsilon)) for trajectory in usable(group)]
        for trajectory, advantage in trained:
            for node in trajectory.nodes:
                through.setdefault(trajectory.origin(node), []).append(advantage)
        for trajectory, advantage in trained:
            for node in trajectory.nodes:
                shared = through[trajectory.origin(node)]
                node.set_advantage(math.fsum(shared) / len(shared) if self.attribution == "hard" else advantage)
