"""Drop groups whose rewards are all equal: DAPO's filter (arXiv 2503.14476, section 3.2, dynamic sampling).

A group that always or never succeeds has zero advantage under a group baseline; keeping it only dilutes the batch's normaliser. DAPO keeps
groups with 0 < accuracy < 1 and samples on until the batch is full; a rule only drops, and the loop asks `resampling.next_draw` for how
many more tasks to draw.
"""

from pydantic import Field

from spadework.algorithms.selection.selection import SelectionRule, register
from spadework.trajectories.tree import Group

__all__ = ["ZeroVariance", "spread"]


@register("zero-variance", formula="drops groups whose rewards differ by at most {tolerance}", source="DAPO, arXiv 2503.14476")
class ZeroVariance(SelectionRule):
    """Keep the groups in which some trajectory did better than another."""

    tolerance: float = Field(default=1e-9, ge=0)
    """Rewards that differ by no more are equal: sums of the same weighted terms can differ by rounding."""

    def __call__(self, groups: list[Group]) -> list[Group]:
        """The groups with different rewards; an empty group is dropped."""
        return [group for group in groups if spread(group) > self.tolerance]


def spread(group: Group) -> float:
    """Greatest minus least reward; 0 for an empty group."""
    rewards = [trajectory.reward for trajectory in group]
    return max(rewards) - min(rewards) if rewards else 0.0
