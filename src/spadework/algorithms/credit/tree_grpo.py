"""Credit of trees: Tree-GRPO (arXiv 2509.21240).

A_i = z(R_i within its tree) + z(R_i over all trees of the group) on every policy token of trajectory i. A tree is a trajectory with all
forks of it and of its forks. The first term compares what went on from a common prefix, a preference between steps; alone it collapsed in
the paper's ablation, because a tree has few members, and the second steadies it. A tree with one trajectory has the second term only.
"""

from typing import ClassVar

from pydantic import Field

from spadework.algorithms.credit.credit import CreditRule, baseline, members, moments, register, usable, z_score
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["TreeGRPO"]


@register("tree-grpo", formula="A_i = z(R_i in its tree) + z(R_i in the group)", source="arXiv 2509.21240")
class TreeGRPO(CreditRule):
    """A_i = z(R_i, its tree) + z(R_i, the group) on every policy token of trajectory i."""

    reads: ClassVar[frozenset[str]] = frozenset({"forks"})

    epsilon: float = Field(default=1e-6, ge=0)
    """Added to the standard deviations. The paper gives none."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        trees: dict[int, list[float]] = {}
        for trajectory in members(group):
            trees.setdefault(_tree(trajectory), []).append(trajectory.reward)
        everything = baseline(group)
        for trajectory in usable(group):
            within = z_score(trajectory.reward, *moments(trees[_tree(trajectory)]), self.epsilon)
            trajectory.set_advantage(within + z_score(trajectory.reward, *everything, self.epsilon))


def _tree(trajectory: Trajectory) -> int:
    """Sample that made the first node, which every fork of a fork has a copy of."""
    return trajectory.origin(trajectory.nodes[0])[0] if trajectory.nodes else trajectory.sample
