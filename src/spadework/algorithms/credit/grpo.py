"""Group-relative credit: GRPO (DeepSeekMath, arXiv 2402.03300, section 4.1.2, outcome supervision).

A_i = (R_i - mean(R)) / (std(R) + epsilon) on every policy token of trajectory i, with the sample standard deviation (see `baseline`). A
reward may be shifted or scaled without effect, up to epsilon; a group of equal rewards gets 0. The division weighs very easy and very hard
tasks up, which Dr.GRPO removes. Not done here: the paper's process supervision, and its KL term, which belongs to the loss.
"""

from pydantic import Field

from spadework.algorithms.credit.credit import CreditRule, baseline, register, usable
from spadework.trajectories.tree import Group

__all__ = ["GRPO"]


@register("grpo")
class GRPO(CreditRule):
    """A_i = (R_i - mean) / (std + epsilon) on every policy token of trajectory i."""

    epsilon: float = Field(default=1e-6, ge=0)
    """Added to the standard deviation: 1e-6 in verl, 1e-4 in TRL; the paper gives none."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        mean, std = baseline(group)
        for trajectory in usable(group):
            # Without a spread every deviation is rounding, which epsilon would magnify a million times.
            spread = std > 1e-9 * max(1.0, abs(mean))
            trajectory.set_advantage((trajectory.reward - mean) / (std + self.epsilon) if spread else 0.0)
