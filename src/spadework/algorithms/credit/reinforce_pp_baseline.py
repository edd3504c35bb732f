"""REINFORCE++ with a baseline (arXiv 2501.03262, the variant with group sampling).

A_i = R_i - mean(R of the group), then whitened over the batch: minus its mean and divided by its standard deviation over the policy tokens
of the step, as verl and OpenRLHF compute it (the paper does not say over what). A batch of many groups makes the divisor nearly independent
of the trajectory's own reward, so the bias of GRPO's per-group division goes away.
"""

import math
from collections.abc import Sequence

from spadework.algorithms.credit.credit import BatchRule, baseline, register, usable, z_score
from spadework.trajectories.tree import Group

__all__ = ["ReinforcePPBaseline"]


@register("reinforce-pp-baseline", formula="A_i = R_i - group mean, whitened over the batch's tokens", source="arXiv 2501.03262")
class ReinforcePPBaseline(BatchRule):
    """A_i = R_i - group mean, whitened over the policy tokens of the step."""

    def assign(self, groups: Sequence[Group]) -> None:
        """Write the advantages (see `CreditRule`)."""
        means = [baseline(group)[0] for group in groups]
        pairs = [(t, t.reward - mean) for group, mean in zip(groups, means, strict=True) for t in usable(group)]
        weighted = [(value, trajectory.num_sampled) for trajectory, value in pairs]
        count = sum(tokens for _, tokens in weighted)
        mean = math.fsum(value * tokens for value, tokens in weighted) / max(1, count)
        std = math.sqrt(math.fsum((value - mean) ** 2 * tokens for value, tokens in weighted) / max(1, count - 1))
        for trajectory, value in pairs:
            trajectory.set_advantage(z_score(value, mean, std, 0.0))
