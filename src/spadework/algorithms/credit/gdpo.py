"""Several objectives, each compared in its group before they are mixed: GDPO (arXiv 2601.05242, and its code).

S_i = sum over objectives k of w_k z(r_ik) in the group, then A_i = z(S_i) over the batch: over the unbroken trajectories of the step, as
the paper and TRL have it; the authors' code for verl whitens over tokens. Objectives are the rubric's terms of trajectories and groups, w_k
their weights when they were scored. If rewards are mixed first, as in GRPO, the objective with the greatest spread decides, and mixtures
with equal sums become the same; `sum_then_normalize` does that here, so that the order is all that changes. Not done here: the paper's
conditioned rewards, which are a `gate`. `zero-variance` looks at sums and drops groups that still have a signal here.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from spadework.algorithms.credit.credit import BatchRule, CreditError, members, moments, register, usable, z_score
from spadework.trajectories.tree import Group

__all__ = ["GDPO"]


@register(
    "gdpo",
    formula="A_i = z over the batch of the sum over objectives k of w_k z(r_ik) in the group; {aggregation}",
    source="GDPO, arXiv 2601.05242; the paper and TRL whiten over trajectories, the authors' code for verl over tokens",
)
class GDPO(BatchRule):
    """A_i = z over the batch of S_i, the sum of w_k z(r_ik), on every policy token of trajectory i."""

    reads: ClassVar[frozenset[str]] = frozenset({"objectives"})

    aggregation: Literal["normalize_then_sum", "sum_then_normalize"] = "normalize_then_sum"
    """Whether objectives are compared in the group one by one, or their sum is; TRL's names."""
    epsilon: float = Field(default=1e-6, ge=0)
    """Added to the standard deviations: 1e-4 in TRL, 1e-6 in verl."""

    def assign(self, groups: Sequence[Group]) -> None:
        """Write the advantages (see `CreditRule`)."""
        mixed = [self._mixed(group) for group in groups]
        mean, std = moments(value for row in mixed for value in row.values()) if mixed else (0.0, 0.0)
        for group, row in zip(groups, mixed, strict=True):
            for trajectory in usable(group):
                trajectory.set_advantage(z_score(row[id(trajectory)], mean, std, self.epsilon))

    def _mixed(self, group: Group) -> dict[int, float]:
        """S of every unbroken trajectory, by its identity."""
        compared = members(group)
        weights = compared[0].weights
        if not weights or any(trajectory.weights != weights for trajectory in compared):
            raise CreditError(
                f"group {group.key} lacks the weights of its rewards, or has several, and gdpo mixes by them; score it as one"
            )
        if self.aggregation == "sum_then_normalize":
            columns = [(1.0, [trajectory.reward for trajectory in compared])]
        else:
            columns = [(weight, [trajectory.rewards[name] for trajectory in compared]) for name, weight in weights.items()]
        measured = [(weight, values, moments(values)) for weight, values in columns]
        return {
            id(trajectory): sum(weight * z_score(values[place], *spread, self.epsilon) for weight, values, spread in measured)
            for place, trajectory in enumerate(compared)
        }
