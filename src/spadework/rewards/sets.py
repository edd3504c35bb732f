"""Answers with several parts: lists of entities, findings, answers to several questions at once.

The parts of an answer stand on lines of their own or are separated by `;`, and a bullet or number before a part is no part of it. The gold
parts are `task.meta["items"]` (each a text or a list of aliases), or else the parts of the first gold answer. Parts are compared by token
F1, where published systems use embeddings or a judge. Every gold part is matched at most once, so two aliases of one thing count once.
"""

import re
from collections.abc import Sequence

from pydantic import Field

from spadework.core.errors import InputError
from spadework.rewards import matching
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["MultiAnswer", "SetF1", "SoftSetF", "gold_items", "items"]

_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+")


def items(text: str | None) -> list[str]:
    """The different parts of an answer, in order."""
    parts = [_BULLET.sub("", part).strip() for part in re.split(r"[;\n]", text or "")]
    found: dict[str, str] = {}
    for part in parts:
        if normal := matching.norm_squad(part):
            found.setdefault(normal, part)
    return list(found.values())


def gold_items(task: Task) -> list[tuple[str, ...]]:
    """The gold parts, each with its aliases.

    Raises:
        InputError: `task.meta["items"]` is not a list of texts or lists of texts, or there are none.
    """
    listed = task.meta.get("items", items(task.answers[0]))
    parts = [[part] if isinstance(part, str) else part for part in listed] if isinstance(listed, list | tuple) else []
    golds = [tuple(part) for part in parts if isinstance(part, list | tuple) and all(isinstance(alias, str) for alias in part)]
    if not golds or len(golds) < len(parts) or not all(golds):
        raise InputError(f"task {task.id}: meta['items'] is a list of texts or of lists of aliases, not {listed!r}")
    return golds


def _similarity(said: Sequence[str], golds: Sequence[tuple[str, ...]]) -> list[list[float]]:
    return [[matching.f1(part, gold, variant="squad2") for gold in golds] for part in said]


def _matched(near: list[list[bool]], num_golds: int) -> int:
    """Size of the largest one-to-one matching (augmenting paths)."""
    partner: list[int | None] = [None] * num_golds

    def place(part: int, tried: set[int]) -> bool:
        for gold in range(num_golds):
            if near[part][gold] and gold not in tried:
                tried.add(gold)
                current = partner[gold]
                if current is None or place(current, tried):
                    partner[gold] = part
                    return True
        return False

    return sum(place(part, set()) for part in range(len(near)))


@register(
    "set-f1",
    formula="F1 of the parts of a list, matched one to one from a token F1 of {threshold}",
    source="O2-Searcher's findings, 2505.16582",
)
class SetF1(RewardTerm):
    """F1 of the parts: matched parts over the parts said, and over the gold parts. O2-Searcher's key findings (threshold 0.75)."""

    threshold: float = Field(default=1.0, gt=0, le=1)
    """Token F1 from which two parts are the same; 1 asks for the same words."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        said, golds = items(trajectory.answer), gold_items(task)
        near = [[value >= self.threshold for value in row] for row in _similarity(said, golds)]
        return 2 * _matched(near, len(golds)) / (len(said) + len(golds))


@register(
    "webleaper",
    formula="(1 + w²) P R / (w² P + R), w = {omega}, with soft precision and recall of entities",
    source="WebLeaper, 2510.24697",
)
class SoftSetF(RewardTerm):
    """WebLeaper (arXiv 2510.24697): F = (1 + w^2) P R / (w^2 P + R) with soft precision and recall of entities.

    A part counts by its similarity to the gold that is nearest, and the other way round. The paper compares meanings; its w was not found.
    """

    omega: float = Field(default=1.0, gt=0)
    """Above 1 recall matters more."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        said, golds = items(trajectory.answer), gold_items(task)
        table = _similarity(said, golds)
        if not table:
            return 0.0
        precision = sum(map(max, table)) / len(said)
        recall = sum(max(column) for column in zip(*table, strict=True)) / len(golds)
        square = self.omega**2
        return (1 + square) * precision * recall / (square * precision + recall) if precision * recall else 0.0


@register("mem1", formula="sum over objectives k of EM(answer k, gold k)", source="MEM1, 2506.15841")
class MultiAnswer(RewardTerm):
    """MEM1 (arXiv 2506.15841): sum over objectives k of EM(answer k, gold k), from 0 to their number; answers are compared in order.

    Parts that repeat stay separate here: two questions may have the same answer.
    """

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and the number of gold parts."""
        if trajectory.answer is None:
            return 0.0
        said = trajectory.answer.split(";")
        listed = task.meta.get("items") or task.answers[0].split(";")
        return sum(matching.em(part, gold) for part, gold in zip(said, listed, strict=False))
