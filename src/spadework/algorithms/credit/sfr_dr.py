"""Group-relative credit divided by the number of turns: SFR-DeepResearch (arXiv 2509.06283, eq. 1).

A_i = (R_i - mean(R)) / ((std(R) + epsilon) * T_i) on every policy token of trajectory i, T_i its policy turns, so that a trajectory weighs
the same however many steps it has. Without 1/T_i the published ablation saw identical repeated calls pile up. The division makes the
estimator biased: the steps of short trajectories are over-weighted. Not done here: the bound on positive to negative trajectories, which is
the selection rule `sign-ratio`.
"""

from pydantic import Field

from spadework.algorithms.credit.credit import CreditRule, baseline, register, usable, z_score
from spadework.trajectories.tree import Group

__all__ = ["SFRDR"]


@register("sfr-dr", formula="A_i = (R_i - mean) / ((std + {epsilon}) T_i)", source="arXiv 2509.06283; biased towards short trajectories")
class SFRDR(CreditRule):
    """A_i = (R_i - mean) / ((std + epsilon) * T_i) on every policy token of trajectory i."""

    epsilon: float = Field(default=1e-6, ge=0)
    """Added to the standard deviation. The paper gives none."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        mean, std = baseline(group)
        for trajectory in usable(group):
            trajectory.set_advantage(z_score(trajectory.reward, mean, std, self.epsilon) / max(1, trajectory.num_turns))
