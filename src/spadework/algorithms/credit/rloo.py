"""Leave-one-out credit: RLOO (Ahmadian et al., arXiv 2402.14740); Tongyi DeepResearch uses it too (arXiv 2510.24701).

A_i = R_i - mean of the other rewards of the group = (R_i - mean(R)) * G / (G - 1) on every policy token. A baseline that does not contain
the trajectory's own reward keeps the policy gradient unbiased. Not done here: TRL's optional whitening over the batch, which is
`reinforce-pp-baseline` but for a factor, and RLOO's KL in the reward.
"""

from spadework.algorithms.credit.credit import CreditRule, baseline, members, register, usable
from spadework.trajectories.tree import Group

__all__ = ["RLOO"]


@register("rloo", formula="A_i = R_i - mean of the others", source="arXiv 2402.14740; Tongyi, arXiv 2510.24701")
class RLOO(CreditRule):
    """A_i = R_i - mean of the others' rewards on every policy token of trajectory i."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        mean, _ = baseline(group)
        count = len(members(group))
        for trajectory in usable(group):
            trajectory.set_advantage((trajectory.reward - mean) * count / (count - 1))
