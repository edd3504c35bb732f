"""Resample on correct: GRPO-RoC of rStar2-Agent (arXiv 2508.20722), 2G trajectories to G.

Half of the negatives is kept uniformly, so that failures stay diverse; half of the positives by 1 / p, without replacement, so that tool
errors and bad format are not reinforced. p = p_err + p_format: the share of failed calls, 0.5 without any, and 1 without an answer, else
min(1, (answers - 1) / turns). Halves are rounded down; negatives get a slot lost where both are odd. Code takes positives of least p
(`positives: top`), the first negatives, at least two of each (`minimum`, here too).
"""

import random
from dataclasses import replace
from typing import Literal

from pydantic import Field

from spadework.algorithms.selection.selection import RandomRule, register
from spadework.core.seeds import rng
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["ResampleOnCorrect", "penalty"]


@register(
    "roc",
    formula="2G to G: negatives at random, positives (R > {positive}) by 1 / (failed calls + format), {positives}; at least {minimum} each",
    source="GRPO-RoC, arXiv 2508.20722",
)
class ResampleOnCorrect(RandomRule):
    """Half of each group: negatives at random, positives by 1 / penalty."""

    positive: float = 0.0
    """A trajectory with a greater reward is positive."""
    positives: Literal["sample", "top"] = "sample"
    """Draw by 1 / p, or take the least p."""
    minimum: int = Field(default=2, ge=0)
    """Of each kind at least this many are kept, where there are as many."""

    def draw(self, groups: list[Group], seed: int) -> list[Group]:
        """The groups with half of their trajectories; the others are in no baseline."""
        kept = [self._kept(group, rng(seed, group.key)) for group in groups]
        halves = [replace(group, trajectories=[t for t in group if id(t) in ids]) for group, ids in zip(groups, kept, strict=True)]
        return [group for group in halves if len(group) > 1]

    def _kept(self, group: Group, stream: random.Random) -> set[int]:
        positives, negatives = ([t for t in group if (t.reward > self.positive) is sign] for sign in (True, False))
        keep = len(group) // 2
        least, most = min(self.minimum, len(positives)), keep - min(self.minimum, len(negatives))
        count = min(max(len(positives) // 2, least), max(most, least))
        # The first of a race of exponential clocks with rates 1 / p is each with probability proportional to its rate, and so on.
        clock = {id(t): penalty(t) * (1.0 if self.positives == "top" else stream.expovariate(1.0)) for t in positives}
        ranked = sorted(positives, key=lambda t: (clock[id(t)], stream.random()))
        return {id(t) for t in ranked[:count] + stream.sample(negatives, min(len(negatives), max(0, keep - count)))}


def penalty(trajectory: Trajectory) -> float:
    """p_err + p_format of a trajectory, in [0, 2]."""
    calls = [call["status"] for node in trajectory.nodes for call in node.meta.get("calls", ())]
    turns = [message.turn for node in trajectory.generations() for message in node.messages if message.turn is not None]
    answers = sum(turn.answer is not None for turn in turns)
    errors = sum(status != "ok" for status in calls) / len(calls) if calls else 0.5
    return errors + (min(1.0, (answers - 1) / max(1, trajectory.num_turns)) if answers else 1.0)
