"""Reward of ARPO, AEPO and Tool-Star (arXiv 2507.19849, 2510.14545, 2505.16410): -1, 0, F1, or F1 and a bonus for several tools.

-1 if the format is invalid; F1 otherwise, plus 0.1 if F1 is above 0 and all the named tools were used. The bonus is for right answers
only, so calling tools for show does not pay.
"""

from pydantic import Field

from spadework.rewards.format import valid
from spadework.rewards.matching import f1
from spadework.rewards.reward import RewardTerm, register
from spadework.rewards.transcript import num_calls
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Arpo"]


@register("arpo", formula="-1 if not valid; F1, + {bonus} if F1 > 0 and all of {tools} were used", source="ARPO, Tool-Star, 2507.19849")
class Arpo(RewardTerm):
    """-1 | 0 | F1 | F1 + 0.1."""

    bonus: float = 0.1
    """For using all the tools."""
    tools: tuple[str, ...] = Field(default=("search", "python"), min_length=1)
    """The tools that the bonus asks for."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -1 and 1 + bonus."""
        if not valid(trajectory):
            return -1.0
        score = f1(trajectory.answer or "", task.answers)
        return score + self.bonus * (score > 0 and all(num_calls(trajectory, [tool]) for tool in self.tools))
