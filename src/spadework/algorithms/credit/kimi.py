"""Outcome reward decayed over turns: Kimi-Researcher (blog, June 2025; no paper, no code).

A correct trajectory's reward is multiplied at turn s of T by gamma^(T - s) (`from-end`) or gamma^(s - 1) (`from-start`): the sources
disagree. With the first, the early turns of a short correct trajectory earn more than those of a long one, which the blog gives as its aim;
with the second, late turns earn less whatever the length. Rewards that are not positive are not decayed: a decay would make failing slowly
cheap. A = decayed reward - its mean over the turns of the group; the blog says REINFORCE and names no baseline.
"""

from typing import Literal

from pydantic import Field

from spadework.algorithms.credit.credit import CreditRule, members, moments, register, set_turns, usable
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["Kimi"]


@register(
    "kimi",
    formula="A_is = {gamma}^e R_i - mean over the turns of the {baseline}; e counts turns {exponent} at turn s",
    source="blog; the exponent may be T_i - s or s - 1, gamma is unpublished",
)
class Kimi(CreditRule):
    """A_{i,s} = gamma^(T_i - s) R_i - mean over the group's turns, on every token of turn s."""

    gamma: float = Field(default=0.97, gt=0, le=1)
    """Decay per turn. Unpublished: this value is ours."""
    exponent: Literal["from-end", "from-start"] = "from-end"
    """T - s, or s - 1."""
    baseline: Literal["group", "none"] = "group"
    """What is subtracted: the mean over the group's turns, or nothing."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        decayed = [value for trajectory in members(group) for value in self._decayed(trajectory)]
        mean = moments(decayed)[0] if decayed and self.baseline == "group" else 0.0
        for trajectory in usable(group):
            set_turns(trajectory, [value - mean for value in self._decayed(trajectory)])

    def _decayed(self, trajectory: Trajectory) -> list[float]:
        turns, gamma = trajectory.num_turns, self.gamma if trajectory.reward > 0 else 1.0
        steps = range(turns) if self.exponent == "from-start" else range(turns - 1, -1, -1)
        return [trajectory.reward * gamma**step for step in steps]
