"""Resample on correct: GRPO-RoC of rStar2-Agent (arXiv 2508.20722), 2G trajectories to G.

Half of the negatives is kept uniformly, so that failures stay diverse; half of the positives with probability proportional to 1 / p, so
that correct trajectories with tool errors or a bad format are not reinforced. p = p_err + p_format: p_err is the share of calls that
failed, 0.5 without any call; p_format is 1 without an answer, else min(1, (answers - 1) / turns). Draws are without replacement.

Both halves are rounded down; a slot that is lost where both counts are odd goes to the negatives. The code differs: it takes the positives
with the least p (`positives: top`), the first negatives, and at least two of each kind where there are as many; only this last is done
here too (`minimum`), because rounding down would lose a lone success.
"""

import random
from dataclasses import replace
from typing import Literal

from pydantic import Field

from spadework.algorithms.selection.selection import RandomRule, register
from spadework.core.seeds import rng
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["ResampleOnCorrect", "penalty"]


@register("roc")
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
        positives = [t for t in group if t.reward > self.positive]
        negatives = [t for t in group if t.reward <= self.positive]
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
