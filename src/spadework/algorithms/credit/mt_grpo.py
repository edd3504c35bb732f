"""Outcome and turn advantages: MT-GRPO (arXiv 2505.11821, and its code).

The outcome advantage z(R_i) is on every policy token. Tokens of a turn that acts also get alpha * z(r_{i,k}), r the turn's own reward,
compared with the k-th acting turns of the group's other trajectories. The paper has two turns: the first acts, the second answers and gets
the outcome's advantage alone; a trajectory that never acts gets both on its only turns. This rule does the same for K turns. A turn acts if
results follow it. A k-th turn that no other trajectory has gets no turn advantage. Not done here: the tree of rollouts from every turn that
the paper's exact form for K > 2 needs.
"""

from typing import ClassVar

from pydantic import Field

from spadework.algorithms.credit.credit import CreditError, CreditRule, baseline, members, moments, register, set_turns, usable, z_score
from spadework.trajectories.tree import Group, Node, Trajectory

__all__ = ["MTGRPO"]


@register(
    "mt-grpo",
    formula="A_ik = z(R_i) + {alpha} z(r_ik) on turns that act, compared with the k-th turns of the others",
    source="arXiv 2505.11821, for K turns",
)
class MTGRPO(CreditRule):
    """A_{i,k} = z(R_i) + alpha z(r_{i,k}) on tokens of acting turn k, z(R_i) on the others."""

    reads: ClassVar[frozenset[str]] = frozenset({"turn_rewards"})

    alpha: float = Field(default=1.0, ge=0)
    """Weight of the turn's advantage."""
    epsilon: float = Field(default=1e-4, ge=0)
    """Added to the standard deviations, as in the paper's code."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        mean, std = baseline(group)
        turns = [[node.reward for node in _acting(trajectory)] for trajectory in members(group)]
        if not any(node.rewards for trajectory in members(group) for node in trajectory.generations()):
            raise CreditError(f"group {group.key} has no turn rewards, which mt-grpo reads; add a reward of turns to the rubric")
        longest = max(map(len, turns))
        by_turn = [moments(rewards[k] for rewards in turns if len(rewards) > k) for k in range(longest)]
        for trajectory in usable(group):
            outcome = z_score(trajectory.reward, mean, std, self.epsilon)
            extra = {node.id: self.alpha * z_score(node.reward, *by_turn[k], self.epsilon) for k, node in enumerate(_acting(trajectory))}
            set_turns(trajectory, [outcome + extra.get(node.id, 0.0) for node in trajectory.generations()])


def _acting(trajectory: Trajectory) -> list[Node]:
    followed = {node.parent for node in trajectory.nodes if node.kind == "observation"}
    return [node for node in trajectory.generations() if node.id in followed] or list(trajectory.generations())
