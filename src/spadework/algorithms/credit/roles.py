"""Groups by role: M-GRPO (arXiv 2511.13288), MHGPO (arXiv 2506.02718): a role is compared with its peers only.

A member is a root with policy turns; its role is that of its first turn, its reward R_i plus the turn rewards within it (a role's own
penalty or format reward). A = z of that reward among the members with the same role (`by: role`), or that also derive from the same node,
sampled once and forked (`by: fork`: what one delegation could have led to). Members of one trajectory count as their mean, so that one with
many delegations does not make the baseline; a comparison with only one trajectory in it gives 0. Gated and mixed rewards of delegates are
rewards of turns. Not done here: M-GRPO's duplicating and dropping of sub-trajectories to align batches.
"""

from typing import ClassVar, Literal

from pydantic import Field

from spadework.algorithms.credit.credit import CreditRule, members, moments, register, usable, z_score
from spadework.trajectories.tree import Group, Node, Trajectory

__all__ = ["Roles"]

Key = tuple[str, tuple[int, int] | None]


@register("roles", formula="A = z(R_i + the root's turn rewards) among roots of the same {by}", source="M-GRPO, MHGPO")
class Roles(CreditRule):
    """A = z(reward of the root) among roots of the same role."""

    reads: ClassVar[frozenset[str]] = frozenset({"roles"})
    uses: ClassVar[frozenset[str]] = frozenset({"turn_rewards", "forks"})

    by: Literal["role", "fork"] = "role"
    """What is compared: all roots of a role, or those that derive from the same node."""
    epsilon: float = Field(default=1e-6, ge=0)
    """Added to the standard deviation."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        values: dict[Key, list[float]] = {}
        for trajectory in members(group):
            own: dict[Key, list[float]] = {}
            for key, value, _ in self._roots(trajectory):
                own.setdefault(key, []).append(value)
            for key, rewards in own.items():
                values.setdefault(key, []).append(moments(rewards)[0])
        for trajectory in usable(group):
            trajectory.set_advantage(0.0)
            for key, value, turns in self._roots(trajectory):
                advantage = z_score(value, *moments(values[key]), self.epsilon) if len(values[key]) > 1 else 0.0
                for node in turns:
                    node.set_advantage(advantage)

    def _roots(self, trajectory: Trajectory) -> list[tuple[Key, float, list[Node]]]:
        """Key, reward and turns of every root that has turns."""
        by_root: dict[int, list[Node]] = {}
        roots = trajectory.roots()
        for node in trajectory.generations():
            by_root.setdefault(roots[node.id], []).append(node)
        edges = {root: trajectory.nodes[root].derived_from if self.by == "fork" else None for root in by_root}
        forks = {root: None if edge is None else trajectory.origin(trajectory.nodes[edge]) for root, edge in edges.items()}
        values = {root: trajectory.reward + sum(node.reward for node in turns) for root, turns in by_root.items()}
        return [((turns[0].role, forks[root]), values[root], turns) for root, turns in by_root.items()]
