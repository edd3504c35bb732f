"""MAO-ARAG's reward: F1 - alpha * cost - a penalty for a bad format, after the survey arXiv 2510.16724.

Cost is the number of calls over the number that is allowed, at most 1. The paper's alpha and penalty were not found.
"""

from pydantic import Field

from spadework.rewards.format import valid
from spadework.rewards.matching import f1
from spadework.rewards.reward import RewardTerm, register
from spadework.rewards.transcript import num_calls
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["MaoArag"]


@register("mao-arag", formula="F1 - {alpha} min(1, calls / {most_calls}) - {penalty} [not valid]", source="MAO-ARAG, in 2510.16724")
class MaoArag(RewardTerm):
    """F1 - alpha min(1, calls / most_calls) - penalty [bad format]."""

    alpha: float = Field(default=0.1, ge=0)
    penalty: float = Field(default=1.0, ge=0)
    most_calls: int = Field(default=8, ge=1)
    """Calls that cost alpha."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -(alpha + penalty) and 1."""
        score = f1(trajectory.answer, task.answers) if trajectory.answer is not None else 0.0
        return score - self.alpha * min(1.0, num_calls(trajectory, ()) / self.most_calls) - self.penalty * (not valid(trajectory))
