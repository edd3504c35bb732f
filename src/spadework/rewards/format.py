"""Reward for turns that can be read. Search-R1's empirical study (arXiv 2505.15117) finds a format reward helpful.

A turn is malformed if its parser found neither a call nor an answer, or if one of its calls could not be parsed. A well-formed call that a
tool refuses (an unknown page, say) is no format error: the policy said clearly what it wanted.
"""

from typing import Literal

from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Node, Trajectory

__all__ = ["Format", "malformed"]


@register("format")
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


def malformed(node: Node) -> bool:
    """Whether a generation could not be read: it has no parsed turn, the turn has an error, or one of its calls has."""
    turns = [message.turn for message in node.messages if message.turn is not None]
    return not turns or any(turn.error is not None or any(call.error is not None for call in turn.calls) for turn in turns)
