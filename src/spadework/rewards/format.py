"""Rewards for turns that can be read. Search-R1's empirical study (arXiv 2505.15117) finds a format reward helpful.

A turn is malformed if its parser found neither a call nor an answer, or if one of its calls could not be parsed. A well-formed call that a
tool refuses (an unknown page, say) is no format error: the policy said clearly what it wanted. As a bonus `format` is a term with a small
weight, as a penalty `format-penalty`, as a gate the condition of `gate` (`combine.py`).
"""

from typing import Literal

from pydantic import Field

from spadework.rewards.reward import RewardTerm, TurnReward, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Node, Trajectory

__all__ = ["Format", "FormatPenalty", "TurnFormat", "malformed", "valid"]


@register("format", formula="well-formed turns: {mode} (all: 1 if all are; share: their share)", source="2505.15117")
class Format(RewardTerm):
    """Share of the policy's turns that are well formed, or 1 only if all are. Without a turn: 0."""

    mode: Literal["share", "all"] = "all"
    """`all` is the published 0/1 form; `share` gives partial credit and so a signal at the start of training."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        good = [not malformed(node) for node in trajectory.generations()]
        if not good:
            return 0.0
        return float(all(good)) if self.mode == "all" else sum(good) / len(good)


@register("format-penalty", formula="0 if valid, else -{penalty}", source="R1-Searcher, 2503.05592")
class FormatPenalty(RewardTerm):
    """0 for a valid trajectory (well-formed turns that end in an answer), else -penalty. R1-Searcher takes 2 (arXiv 2503.05592)."""

    penalty: float = Field(default=1.0, gt=0)

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """0 or -penalty."""
        return 0.0 if valid(trajectory) else -self.penalty


@register("turn-format", formula="1 if the turn is well formed, else 0", source="Spadework")
class TurnFormat(TurnReward):
    """1 for a well-formed turn, else 0."""

    def __call__(self, task: Task, trajectory: Trajectory) -> list[float]:
        """0 or 1 per turn."""
        return [float(not malformed(node)) for node in trajectory.generations()]


def malformed(node: Node) -> bool:
    """Whether a generation could not be read: it has no parsed turn, the turn has an error, or one of its calls has."""
    turns = [message.turn for message in node.messages if message.turn is not None]
    for turn in turns:
        if turn.error is not None or [call for call in turn.calls if call.error is not None]:
            return True
    return not turns


def valid(trajectory: Trajectory) -> bool:
    """Whether a trajectory has an answer and every turn is well formed: the 0/1 format rule of most published rewards."""
    turns = list(trajectory.generations())
    return trajectory.answer is not None and bool(turns) and not any(map(malformed, turns))
