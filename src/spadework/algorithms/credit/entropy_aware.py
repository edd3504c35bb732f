"""Credit that grows with the policy's uncertainty: AEPO's entropy-aware advantage (arXiv 2510.14545, and its code).

A_t = z(R_i) * (1 + a * (H_t - mean H) / std H) with the entropies recorded by the sampler: constants, no gradient. Uncertain tokens, such
as those after a tool result, weigh more in both directions. Moments of H are those of all policy tokens of the step; the released code
takes those of each micro-batch, which depend on the packing. The factor may turn negative 1 / a deviations below the mean; the paper does
not bound it. Not done here: AEPO's clip, which is a loss, and its rollout.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from spadework.algorithms.credit.credit import BatchRule, CreditError, baseline, register, usable, z_score
from spadework.algorithms.credit.policy_tokens import read, whiten, write
from spadework.trajectories.tree import Group

__all__ = ["EntropyAware"]


@register(
    "entropy-aware",
    formula="A_t = z(R_i) (1 + {a} z(H_t))",
    source="AEPO, arXiv 2510.14545; H over the step, not over a micro-batch as in its code",
)
class EntropyAware(BatchRule):
    """A_t = (R_i - mean) / (std + epsilon) * (1 + a * whitened entropy of the token)."""

    reads: ClassVar[frozenset[str]] = frozenset({"entropies"})

    a: float = Field(default=0.2, ge=0)
    """How much one standard deviation of entropy adds: 0.2 in the code."""
    epsilon: float = Field(default=1e-6, ge=0)
    """Added to the standard deviation of the rewards."""

    def assign(self, groups: Sequence[Group]) -> None:
        """Write the advantages (see `CreditRule`)."""
        outcomes = []
        for group in groups:
            mean, std = baseline(group)
            outcomes += [(trajectory, z_score(trajectory.reward, mean, std, self.epsilon)) for trajectory in usable(group)]
        entropies = [read(trajectory, "entropies") for trajectory, _ in outcomes]
        if entropies and not any(row.any() for row in entropies):
            raise CreditError("no token of the step has an entropy, which entropy-aware reads; the engine must record them")
        for (trajectory, outcome), row in zip(outcomes, whiten(entropies), strict=True):
            write(trajectory, advantages=outcome * (1 + self.a * row))
