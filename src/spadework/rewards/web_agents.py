"""Rewards of the web agents: a share for the format and the rest for the answer.

WebDancer (arXiv 2505.22648) and WebSailor (2507.02592) take 0.1 format + 0.9 judge, WebExplorer (2509.06501) 0.2 format + 0.8 judge,
DeepDive (2509.10446) 1 only if every turn is well formed and the judge agrees. Give the judge as `of: {judge: {...}}`; exact match stands
in by default. Accounts of WebExplorer differ: others have 0.2 format + 1.0 judge. Tongyi DeepResearch and rStar2-Agent pay the answer
alone: `judge` or `em`.
"""

from collections.abc import Sequence

from pydantic import Field

from spadework.rewards.answer import ExactMatch
from spadework.rewards.format import valid
from spadework.rewards.reward import Pair, RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["DeepDive", "WebDancer", "WebExplorer"]


@register("webdancer", formula="{format_share} [valid] + (1 - {format_share}) {of}", source="WebDancer, 2505.22648; WebSailor, 2507.02592")
class WebDancer(RewardTerm):
    """0.1 [valid format] + 0.9 of."""

    of: RewardTerm = ExactMatch()
    """The worth of the answer."""
    format_share: float = Field(default=0.1, ge=0, le=1)

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        return self.format_share * valid(trajectory) + (1 - self.format_share) * self.of(task, trajectory)


@register("webexplorer", formula="{format_share} [valid] + (1 - {format_share}) {of}", source="WebExplorer, 2509.06501")
class WebExplorer(WebDancer):
    """0.2 [valid format] + 0.8 of."""

    format_share: float = Field(default=0.2, ge=0, le=1)


@register("deepdive", formula="{of} [valid]", source="DeepDive, 2509.10446")
class DeepDive(RewardTerm):
    """of if the format is valid, else 0."""

    of: RewardTerm = ExactMatch()
    """The worth of the answer."""

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Prepares the answers that will count; a judge is not asked about malformed trajectories."""
        super().prepare([pair for pair in pairs if valid(pair[1])])

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        return self.of(task, trajectory) if valid(trajectory) else 0.0
