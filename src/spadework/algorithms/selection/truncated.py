"""What to do with negatives that ran out of a budget; the published systems disagree.

`drop`: out of the loss and the baseline. `soft`: out of the loss, still in the baseline; Tongyi DeepResearch (arXiv 2510.24701) excludes
them, because pushing down unfinished text collapses the format, and does not say which of the two. `keep`: ordinary negatives, as rStar2
(arXiv 2508.20722) found better: without them nothing teaches the policy to finish, and truncation rises. A truncated trajectory with a
positive reward is kept. DAPO's soft overlong penalty is a reward.
"""

from typing import Literal

from spadework.algorithms.selection.selection import SelectionRule, register, without_those
from spadework.trajectories.tree import Group, Status

__all__ = ["Truncated"]


@register(
    "truncated",
    formula="negatives (R <= {positive}) that ran out of a budget: {negatives} (soft: in the baseline only)",
    source="soft, drop: Tongyi, DAPO; keep: rStar2",
)
class Truncated(SelectionRule):
    """Truncated trajectories without a positive reward are dropped, kept for the baseline, or kept."""

    negatives: Literal["keep", "drop", "soft"] = "soft"
    """What becomes of them."""
    positive: float = 0.0
    """A trajectory with a greater reward is positive."""

    def __call__(self, groups: list[Group]) -> list[Group]:
        """The groups with this done."""
        if self.negatives == "keep":
            return list(groups)
        return without_those(
            groups, lambda t: t.status is Status.TRUNCATED and t.reward <= self.positive, baseline=self.negatives == "soft"
        )
