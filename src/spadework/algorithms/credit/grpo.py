"""Group-relative credit: GRPO (DeepSeekMath, arXiv 2402.03300, section 4.1.2, outcome supervision).

A_i = (R_i - mean(R)) / (std(R) + epsilon) on every policy token of trajectory i, with the sample standard deviation (see `moments`). A
reward may be shifted or scaled without effect, up to epsilon; a group of equal rewards gets 0. The division weighs very easy and very hard
tasks up, which Dr.GRPO removes. Not done here: the paper's process supervision, and its KL term, which belongs to the loss.
"""

from pydantic import Field

from spadework.algorithms.credit.credit import CreditRule, baseline, register, usable, z_score
from spadework.trajectories.tree import Group

__all__ = ["GRPO"]


@register("grpo", formula="A_i = (R_i - mean) / (std + {epsilon})", source="arXiv 2402.03300")
class GRPO(CreditRule):
    """A_i = (R_i - mean) / (std + epsilon) on every policy token of trajectory i."""

    epsilon: float = Field(default=1e-6, ge=0)
    """Added to the standard deviation: 1e-6 in verl, 1e-4 in TRL; the paper gives none."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        mean, std = baseline(group)
        for trajectory in usable(group):
            trajectory.set_advantage(z_score(trajectory.reward, mean, std, self.epsilon))
