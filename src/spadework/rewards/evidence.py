"""Rewards for what the agent was shown: the share of the evidence, and no answers out of the blue.

A dense signal for searching before answering works. Whether it helps is disputed: StepSearch and R-Search report gains, the empirical
study of Search-R1 (arXiv 2505.15117) none, so its weight belongs in an ablation. It does not ask whether the agent used what it saw.
"""

from pydantic import Field

from spadework.core.errors import InputError
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["AnswerWithoutEvidence", "EvidenceRecall", "evidence_recall"]


@register("evidence", formula="share of the evidence that was shown", source="Spadework")
class EvidenceRecall(RewardTerm):
    """|evidence that was shown| / |evidence|."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1.

        Raises:
            InputError: the task names no evidence, so the term cannot take effect.
        """
        return evidence_recall(task, trajectory, "evidence")


@register(
    "answer-without-evidence", formula="-1 if it answers before a share of {least} of the evidence was shown, else 0", source="Spadework"
)
class AnswerWithoutEvidence(RewardTerm):
    """-1 for an answer, right or wrong, that comes before enough of the evidence was shown; else 0. A guess is not research."""

    least: float = Field(default=1.0, gt=0, le=1)
    """Share of the evidence that is enough."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """-1 or 0.

        Raises:
            InputError: the task names no evidence, so the term cannot take effect.
        """
        shown = evidence_recall(task, trajectory, "answer-without-evidence")
        return -1.0 if trajectory.answer is not None and shown < self.least else 0.0


def evidence_recall(task: Task, trajectory: Trajectory, term: str) -> float:
    """Share of the task's evidence documents that were shown; an InputError that names the term if there are none."""
    if not task.evidence:
        raise InputError(f"task {task.id} names no evidence, so the '{term}' reward cannot take effect; remove the term or the task")
    wanted = set(task.evidence)
    return len(wanted & trajectory.documents()) / len(wanted)
