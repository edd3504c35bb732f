"""DeepEyes' reward (arXiv 2505.14362), its terms that need no picture.

0.8 accuracy, -0.2 for a bad format, 1.2 for a tool used on the way to a right answer. Without that condition a bonus is earned by calling
tools for nothing. Answers of 1,000 characters and more count as wrong: they talk a judge into agreement.
"""

from pydantic import Field

from spadework.rewards.answer import ExactMatch
from spadework.rewards.format import valid
from spadework.rewards.reward import RewardTerm, register
from spadework.rewards.transcript import num_calls
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["DeepEyes"]


@register(
    "deepeyes", formula="{accuracy} {of} - {bad_format} [not valid] + {tool_bonus} [right and a tool used]", source="DeepEyes, 2505.14362"
)
class DeepEyes(RewardTerm):
    """0.8 accuracy - 0.2 [bad format] + 1.2 [a tool was used and the answer is right]."""

    of: RewardTerm = ExactMatch()
    """The accuracy, right above 0; the paper's is a judge."""
    accuracy: float = 0.8
    bad_format: float = 0.2
    tool_bonus: float = 1.2
    longest: int = Field(default=1000, ge=1)
    """Answers of so many characters are wrong."""
    tools: tuple[str, ...] = ()
    """Tools that earn the bonus; none: any."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -0.2 and 2."""
        score = self.of(task, trajectory) if len(trajectory.answer or "") < self.longest else 0.0
        used = num_calls(trajectory, self.tools) > 0
        return self.accuracy * score - self.bad_format * (not valid(trajectory)) + self.tool_bonus * (used and score > 0)
