"""Length: DAPO's soft punishment of overlong trajectories, and rewards that decay with every step.

DAPO (arXiv 2503.14476): 0 up to `longest` - `cache` sampled tokens, then linearly down to -1 at `longest`, -1 beyond. Kimi-Researcher
discounts a trajectory's reward by gamma per step, so the shorter of two correct ones is worth more; its gamma is not published.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from spadework.rewards.answer import ExactMatch
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["GammaDecay", "Overlong"]


@register(
    "overlong",
    formula="0 up to {longest} - {cache} sampled tokens, then in a line to -1 at {longest}, -1 beyond",
    source="DAPO, 2503.14476",
)
class Overlong(RewardTerm):
    """0 | (longest - cache - n) / cache | -1 for n sampled tokens."""

    longest: int = Field(default=20480, ge=1)
    """Tokens from which the punishment is full (16,384 expected and 4,096 of cache)."""
    cache: int = Field(default=4096, ge=1)
    """Tokens over which it grows."""

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.cache > self.longest:
            raise ValueError(f"the cache of {self.cache} tokens is longer than the longest trajectory, {self.longest}")
        return self

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -1 and 0."""
        excess = trajectory.num_sampled - (self.longest - self.cache)
        return 0.0 - min(1.0, max(0.0, excess / self.cache))


@register("gamma-decay", formula="{of} * {gamma}^max(0, {per} - {free})", source="Kimi-Researcher")
class GammaDecay(RewardTerm):
    """of * gamma ^ max(0, steps - free)."""

    of: RewardTerm = ExactMatch()
    """What decays; give it no negative values, which the decay would reward."""
    gamma: float = Field(default=0.95, gt=0, le=1)
    """Discount per step."""
    per: Literal["turns", "calls"] = "turns"
    """What a step is."""
    free: int = Field(default=1, ge=0)
    """Steps that do not count; 1 turn is needed to answer at all."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """At most the undiscounted reward."""
        steps = trajectory.num_turns if self.per == "turns" else int(trajectory.ledger.get("calls", 0.0))
        return self.of(task, trajectory) * self.gamma ** max(0, steps - self.free)
