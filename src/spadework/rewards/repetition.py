"""A price on turns that repeat a call word for word: what collapsing policies do first (SFR-DeepResearch's ablation, arXiv 2509.06283)."""

from spadework.rewards.reward import TurnReward, register
from spadework.rewards.transcript import turn_records
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Repetition"]


@register("repetition", formula="-(share of calls made before in the same words)", source="after 2509.06283")
class Repetition(TurnReward):
    """-(share of the turn's calls that were made before, in the same words); 0 for turns without calls."""

    def __call__(self, task: Task, trajectory: Trajectory) -> list[float]:
        """Between -1 and 0 per turn."""
        seen: set[str] = set()
        values = []
        for turn in turn_records(trajectory):
            repeated = 0
            for call in turn.calls:
                repeated += call.key in seen
                seen.add(call.key)
            values.append(0.0 - repeated / len(turn.calls) if turn.calls else 0.0)
        return values
