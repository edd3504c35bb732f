"""IKEA's reward (arXiv 2505.07596): search where knowledge ends.

-1 for a malformed trajectory. Correct: 1 + bonus * max(0, 1 - n / most) for n searches. Wrong: a little if it searched, else 0. It needs
questions that the policy can answer alone and questions that it cannot, in equal numbers.
"""

from pydantic import Field

from spadework.rewards.format import valid
from spadework.rewards.matching import em
from spadework.rewards.reward import RewardTerm, register
from spadework.rewards.transcript import num_calls
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Ikea"]


@register("ikea", formula="-1 if not valid; right: 1 + {bonus} max(0, 1 - n/{most}); wrong: {tried} [n > 0]", source="IKEA, 2505.07596")
class Ikea(RewardTerm):
    """-1 | 1.6, 1.4, 1.2, 1 for 0, 1, 2, 3 and more searches | 0.05 or 0."""

    bonus: float = 0.6
    """Bonus of a correct answer without a search."""
    most: int = Field(default=3, ge=1)
    """Searches at which the bonus is gone."""
    tried: float = 0.05
    """Worth of a wrong answer after a search."""
    tools: tuple[str, ...] = ("search",)
    """Calls of these count as searches; none: all calls."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -1 and 1 + bonus."""
        if not valid(trajectory):
            return -1.0
        searches = num_calls(trajectory, self.tools)
        if em(trajectory.answer or "", task.answers):
            return 1.0 + self.bonus * max(0.0, 1 - searches / self.most)
        return self.tried if searches else 0.0
