"""Group mean, batch deviation: Lite-PPO (arXiv 2508.08221), TRL's `scale_rewards="batch"`.

A_i = (R_i - mean(R of the group)) / (std(R of all groups of the step) + epsilon). Deviations of small or nearly solved groups are noise,
which the batch's one smooths. It is that of the rewards as they are, while `reinforce-pp-baseline` takes that of the centred ones.
"""

from collections.abc import Sequence

from pydantic import Field

from spadework.algorithms.credit.credit import BatchRule, baseline, members, moments, register, usable, z_score
from spadework.trajectories.tree import Group

__all__ = ["BatchStd"]


@register("batch-std", formula="A_i = (R_i - group mean) / (batch std of R + {epsilon})", source="Lite-PPO, arXiv 2508.08221")
class BatchStd(BatchRule):
    """A_i = (R_i - group mean) / (batch std + epsilon) on every policy token of trajectory i."""

    epsilon: float = Field(default=1e-6, ge=0)
    """Added to the standard deviation: 1e-4 in TRL; the paper gives none."""

    def assign(self, groups: Sequence[Group]) -> None:
        """Write the advantages (see `CreditRule`)."""
        means = [baseline(group)[0] for group in groups]
        _, std = moments(trajectory.reward for group in groups for trajectory in members(group)) if groups else (0.0, 0.0)
        for group, mean in zip(groups, means, strict=True):
            for trajectory in usable(group):
                trajectory.set_advantage(z_score(trajectory.reward, mean, std, self.epsilon))
