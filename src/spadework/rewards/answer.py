"""Rewards of the final answer by rule: exact match, F1, containment. Search-R1 (arXiv 2503.09516) trains on exact match alone.

A trajectory without an answer scores 0 under all of them. Not done here: answers with several parts (`sets.py`), judges (`judge.py`).
"""

from typing import Literal

from pydantic import Field

from spadework.rewards import matching
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["AnswerF1", "Contains", "CoverMatch", "ExactMatch"]


@register(
    "em",
    formula="1 if the answer equals a gold after normalisation ({variant}), else 0",
    source="Search-R1, 2503.09516; rStar2, DGPO, RAG-R1",
)
class ExactMatch(RewardTerm):
    """1 if the answer equals a gold after normalisation, else 0."""

    variant: Literal["squad", "trivia"] = "squad"
    """Normalisation rule (see `rewards/matching.py`). Search-R1 uses SQuAD's."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """0 or 1."""
        return matching.em(trajectory.answer, task.answers, variant=self.variant) if trajectory.answer is not None else 0.0


@register("f1", formula="best token F1 over the golds, normalised as {variant}", source="ZeroSearch, 2505.04588")
class AnswerF1(RewardTerm):
    """Best token F1 over the golds, as in ZeroSearch's paper, because it resists long answers; ZeroSearch's released code has `em`."""

    variant: Literal["hotpot", "squad2", "trivia"] = "hotpot"
    """Which F1 (see `rewards/matching.py`)."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        return matching.f1(trajectory.answer, task.answers, variant=self.variant) if trajectory.answer is not None else 0.0


@register("contains", formula="1 if a gold is a substring, else 0; invites lists, so not for training alone", source="Search-R1's subem")
class Contains(RewardTerm):
    """1 if a gold stands somewhere in the answer. A policy learns to list candidates under it; prefer `em` or `f1` for training."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """0 or 1."""
        return matching.contains(trajectory.answer, task.answers) if trajectory.answer is not None else 0.0


@register(
    "cem",
    formula="1 if a gold's words stand side by side in an answer of at most {max_words} words, else 0",
    source="R1-Searcher++, 2505.17005",
)
class CoverMatch(RewardTerm):
    """Cover exact match: 1 if the words of a gold stand side by side in a short answer, both normalised, else 0.

    R1-Searcher++ (arXiv 2505.17005) pays it for answers of at most ten words, without which listing candidates pays. Published code looks
    for a substring, which finds `no` inside `know`; here the words must be whole.
    """

    max_words: int = Field(default=10, ge=1)
    """Longer answers score 0."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """0 or 1."""
        words = matching.norm_squad(trajectory.answer or "").split()
        golds = [gold for gold in (matching.norm_squad(gold) for gold in task.answers) if gold]
        said = f" {' '.join(words)} "
        return float(len(words) <= self.max_words and any(f" {gold} " in said for gold in golds))
