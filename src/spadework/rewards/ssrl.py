"""SSRL's reward (arXiv 2508.10874): exact match, a quarter of it for a trajectory that writes more than ten answer tags.

Training adds a format term (`format`).
"""

from pydantic import Field

from spadework.rewards.matching import em
from spadework.rewards.reward import RewardTerm, register
from spadework.rewards.transcript import tagged
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Ssrl"]


@register("ssrl", formula="EM, a quarter of it after more than {most_tags} answer tags", source="SSRL, 2508.10874")
class Ssrl(RewardTerm):
    """EM | EM / 4."""

    most_tags: int = Field(default=10, ge=1)
    """Answers that may be written."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """0, 0.25 or 1."""
        right = em(trajectory.answer, task.answers) if trajectory.answer is not None else 0.0
        return right / 4 if len(tagged(trajectory, "answer")) > self.most_tags else right
