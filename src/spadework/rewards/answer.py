"""Rewards of the final answer: exact match, F1, containment. Search-R1 (arXiv 2503.09516) trains on exact match alone.

A trajectory without an answer scores 0 under all of them. Not done here: judges.
"""

from typing import Literal

from spadework.rewards import matching
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["AnswerF1", "Contains", "ExactMatch"]


@register("em")
class ExactMatch(RewardTerm):
    """1 if the answer equals a gold after normalisation, else 0."""

    variant: Literal["squad", "trivia"] = "squad"
    """Normalisation rule (see `rewards/matching.py`). Search-R1 uses SQuAD's."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """0 or 1."""
        return matching.em(trajectory.answer, task.answers, variant=self.variant) if trajectory.answer is not None else 0.0


@register("f1")
class AnswerF1(RewardTerm):
    """Best token F1 over the golds; ZeroSearch and DeepResearcher train on it because it resists long answers."""

    variant: Literal["hotpot", "squad2", "trivia"] = "hotpot"
    """Which F1 (see `rewards/matching.py`)."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        return matching.f1(trajectory.answer, task.answers, variant=self.variant) if trajectory.answer is not None else 0.0


@register("contains")
class Contains(RewardTerm):
    """1 if a gold stands somewhere in the answer. A policy learns to list candidates under it; prefer `em` or `f1` for training."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """0 or 1."""
        return matching.contains(trajectory.answer, task.answers) if trajectory.answer is not None else 0.0
