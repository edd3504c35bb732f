"""One advantage for all roots of a trajectory: MemAgent (arXiv 2507.02259), ReSum-GRPO (arXiv 2509.13313), MATPO (arXiv 2510.04678).

A trajectory with edited contexts or delegations has several roots and one reward. A_i = R_i - mean(R), computed over trajectories so that
their numbers of roots do not distort it, on every policy token of every root. MemAgent and MATPO's token mean: without deviation, `std:
false`; ReSum: with it. This is `dr-grpo`, or `grpo`, as a statement about roots; `roots: last` credits the final root alone, the ablation
in which a memory learns nothing from the answer it led to. Long trajectories weigh more, as published: `sfr-dr` divides by turns.
"""

from typing import Literal

from pydantic import Field

from spadework.algorithms.credit.credit import CreditRule, baseline, register, usable, z_score
from spadework.trajectories.tree import Group

__all__ = ["Broadcast"]


@register(
    "broadcast",
    formula="A_i = R_i - mean on {roots} roots of a trajectory; divided by std: {std}",
    source="MemAgent, MATPO; with std ReSum; last roots an ablation",
)
class Broadcast(CreditRule):
    """A_i = R_i - mean on every policy token of every root of trajectory i."""

    std: bool = False
    """Whether to divide by the standard deviation."""
    roots: Literal["all", "last"] = "all"
    """Which roots get it; the others get 0."""
    epsilon: float = Field(default=1e-6, ge=0)
    """Added to the standard deviation."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        mean, std = baseline(group)
        for trajectory in usable(group):
            advantage = z_score(trajectory.reward, mean, std, self.epsilon) if self.std else trajectory.reward - mean
            roots = trajectory.roots()
            last = [roots[node.id] for node in trajectory.generations()][-1:]
            for node in trajectory.nodes:
                node.set_advantage(advantage if self.roots == "all" or roots[node.id] in last else 0.0)
