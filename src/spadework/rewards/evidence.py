"""Evidence recall: the share of a task's evidence documents that the agent was shown.

A dense signal for searching before answering works. Whether it helps is disputed: StepSearch and R-Search report gains, the empirical
study of Search-R1 (arXiv 2505.15117) none, so its weight belongs in an ablation. It does not ask whether the agent used what it saw.
"""

from spadework.core.errors import InputError
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["EvidenceRecall"]


@register("evidence")
class EvidenceRecall(RewardTerm):
    """|evidence that was shown| / |evidence|."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1.

        Raises:
            InputError: the task names no evidence, so the term cannot take effect.
        """
        if not task.evidence:
            raise InputError(f"task {task.id} names no evidence, so the 'evidence' reward cannot take effect; remove the term or the task")
        wanted = set(task.evidence)
        return len(wanted & trajectory.documents()) / len(wanted)
