"""MMSearch-R1's reward (arXiv 2506.20670): (1 - a) * EM * penalty for searching + a * format.

Only correct answers pay for searching, and the data must hold questions that need no search. The paper multiplies once by 0.9 if the
trajectory searched at all; its code can also multiply once per search (`count`).
"""

from typing import Literal

from pydantic import Field

from spadework.rewards.format import valid
from spadework.rewards.matching import em
from spadework.rewards.reward import RewardTerm, register
from spadework.rewards.transcript import num_calls
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["MMSearchR1"]


@register(
    "mmsearch-r1",
    formula="(1 - {format_share}) EM, times {penalty} if it searched ({mode}), + {format_share} [valid]",
    source="MMSearch-R1, 2506.20670",
)
class MMSearchR1(RewardTerm):
    """0.9 EM (0.9 if it searched) + 0.1 format."""

    format_share: float = Field(default=0.1, ge=0, le=1)
    """a: share of the format."""
    penalty: float = Field(default=0.9, gt=0, le=1)
    """Factor on a correct answer that searched."""
    mode: Literal["once", "count"] = "once"
    """`count`: once per search."""
    tools: tuple[str, ...] = ("search",)
    """Calls of these count as searches; none: all calls."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        searches = num_calls(trajectory, self.tools)
        right = em(trajectory.answer, task.answers) if trajectory.answer is not None else 0.0
        factor = self.penalty ** (searches if self.mode == "count" else min(searches, 1))
        return (1 - self.format_share) * right * factor + self.format_share * valid(trajectory)
