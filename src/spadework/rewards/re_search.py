"""ReSearch's reward (arXiv 2503.19470; ReCall's too): F1; 0.1 for a wrong answer of valid format; 0 for a bad format."""

from pydantic import Field

from spadework.rewards.format import valid
from spadework.rewards.matching import f1
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["ReSearch"]


@register("re-search", formula="F1; {format} if that is 0; 0 if not valid", source="ReSearch, 2503.19470")
class ReSearch(RewardTerm):
    """F1 | 0.1 | 0."""

    format: float = Field(default=0.1, ge=0)
    """Worth of a valid format around a wrong answer."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        if not valid(trajectory):
            return 0.0
        return f1(trajectory.answer or "", task.answers) or self.format
