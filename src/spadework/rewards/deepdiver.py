"""Pangu DeepDiver's extra-search bonus (arXiv 2505.24332): pay for searching where only searching succeeds.

The opposite of R1-Searcher++'s bonus: a correct member that searched gets it if no member of its group was correct without a search. The
paper's amount was not found; here the value is 1 and the weight decides.
"""

from collections.abc import Sequence

from spadework.rewards.answer import ExactMatch
from spadework.rewards.reward import GroupReward, RewardTerm, register
from spadework.rewards.transcript import num_calls
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["DeepDiver"]


@register(
    "deepdiver", formula="1 for the correct ({correct}) with n > 0 if none is correct with n = 0, else 0", source="DeepDiver, 2505.24332"
)
class DeepDiver(GroupReward):
    """1 for correct members that searched, in a group where nobody was correct without searching; else 0."""

    correct: RewardTerm = ExactMatch()
    """A member is correct if this is above 0."""
    tools: tuple[str, ...] = ("search",)
    """Calls of these count as searches; none: all calls."""

    def __call__(self, task: Task, trajectories: Sequence[Trajectory]) -> list[float]:
        """0 or 1 per member."""
        searched = [num_calls(trajectory, self.tools) > 0 for trajectory in trajectories]
        right = [self.correct(task, trajectory) > 0 for trajectory in trajectories]
        easy = any(good and not tried for good, tried in zip(right, searched, strict=True))
        return [float(good and tried and not easy) for good, tried in zip(right, searched, strict=True)]
