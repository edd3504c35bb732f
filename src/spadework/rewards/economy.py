"""Search economy: a price per tool call, on correct answers only.

Why only those: a price on wrong answers is paid least by giving up at once, and a policy that rarely succeeds learns exactly that. Among
correct trajectories the price prefers the shorter way, and it cannot make a wrong answer the better choice as long as `most` times the
term's weight is below the weight of the answer reward. Without a price, RL first learns to search twice as a hedge.

The defaults are IKEA's (arXiv 2505.07596), which gives a correct answer a bonus of 0.6 (1 - n/3) for n retrievals: the same up to the
constant 0.6. MMSearch-R1 multiplies a correct answer by 0.9 if it searched. Neither grants the calls that a question needs, as `free: hops`
does.
"""

from typing import Literal

from pydantic import Field

from spadework.rewards.matching import em
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Economy"]


@register("economy", formula="right: -min({most}, {cost} * calls beyond the free ones ({free})); wrong: 0", source="after IKEA")
class Economy(RewardTerm):
    """-cost per call beyond the free ones, never below -most, if the answer is an exact match; 0 otherwise."""

    cost: float = Field(default=0.2, gt=0)
    """Price of a call. 0.2 is IKEA's slope, 0.6 / 3."""
    free: Literal["none", "hops"] = "none"
    """`hops`: as many calls as the task has hops cost nothing, so long questions are not taxed for being long."""
    most: float = Field(default=0.6, gt=0)
    """The price stops growing here; IKEA's bonus spans 0.6."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -most and 0."""
        if trajectory.answer is None or not em(trajectory.answer, task.answers):
            return 0.0
        free = task.hops if self.free == "hops" else 0
        paid = max(0.0, trajectory.ledger.get("calls", 0.0) - free)
        return 0.0 - min(self.most, self.cost * paid)  # 0.0 and not -0.0 for what is free
