"""Group-relative credit without the standard deviation: Dr.GRPO (arXiv 2503.20783, section 3.2).

A_i = R_i - mean(R) on every policy token of trajectory i. Up to the factor G / (G - 1) this is the leave-one-out baseline of RLOO, which
keeps the policy gradient unbiased. The paper's other half, dividing the loss by a constant length instead of each response's own, is
`ppo-clip` with `aggregation: constant`.
"""

from spadework.algorithms.credit.credit import CreditRule, baseline, register, usable
from spadework.trajectories.tree import Group

__all__ = ["DrGRPO"]


@register("dr-grpo", formula="A_i = R_i - mean", source="arXiv 2503.20783")
class DrGRPO(CreditRule):
    """A_i = R_i - mean on every policy token of trajectory i."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        mean, _ = baseline(group)
        for trajectory in usable(group):
            trajectory.set_advantage(trajectory.reward - mean)
