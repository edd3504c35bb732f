"""What a trajectory spent, from its ledger: a price list, and a budget.

Both read the ledger's own names (`calls`, `calls/TOOL`, `errors`, `seconds`, `tokens`, `money` ...). A name that a ledger does not have is
an error and not a zero, except for a tool that was never called. Both punish giving up least; `economy` charges correct answers only.
Seconds depend on the machine: a run with a price on them is not repeatable.
"""

from typing import Annotated

from pydantic import Field

from spadework.core.errors import InputError
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Budget", "Cost"]


@register("cost", formula="-min({most}, sum of price * ledger)", source="Spadework")
class Cost(RewardTerm):
    """-(sum of price times amount), never below -most."""

    prices: dict[str, float] = Field(min_length=1)
    """{name in the ledger: price of one}, for example {calls: 0.05, tokens: 0.0001}."""
    most: float = Field(default=1.0, gt=0)
    """The cost stops growing here."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -most and 0."""
        return 0.0 - min(self.most, sum(price * _spent(trajectory, name) for name, price in self.prices.items()))


@register("budget", formula="0 within the limits, else -min(1, largest excess / limit)", source="Spadework")
class Budget(RewardTerm):
    """0 within every limit; beyond, minus the largest excess as a share of its limit, never below -1."""

    limits: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """{name in the ledger: amount that is free}, for example {calls: 6, tokens: 2000}."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -1 and 0."""
        excess = max(_spent(trajectory, name) / limit - 1 for name, limit in self.limits.items())
        return 0.0 - min(1.0, max(0.0, excess))


def _spent(trajectory: Trajectory, name: str) -> float:
    if name not in trajectory.ledger and not name.startswith("calls/"):
        raise InputError(f"the ledger has no '{name}'; it has {', '.join(sorted(trajectory.ledger))}")
    return trajectory.ledger.get(name, 0.0)
