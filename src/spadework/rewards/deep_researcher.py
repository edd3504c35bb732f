"""DeepResearcher's reward (arXiv 2504.03160): -1 for a bad format or no answer, else F1 of the sets of words.

A set and not a bag: saying a word twice neither helps nor costs.
"""

from spadework.rewards.format import valid
from spadework.rewards.matching import norm_squad, set_prf
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["DeepResearcher"]


@register("deepresearcher", formula="-1 if not valid, else F1 of the sets of words", source="DeepResearcher, 2504.03160")
class DeepResearcher(RewardTerm):
    """-1 | F1 of the word sets, the best over the golds."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -1 and 1."""
        if not valid(trajectory):
            return -1.0
        said = norm_squad(trajectory.answer or "").split()
        return max(set_prf(said, norm_squad(gold).split()).f1 for gold in task.answers)
