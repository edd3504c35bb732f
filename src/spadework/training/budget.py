"""What RL may spend: a stage ends after the step in which a sum reaches its limit, or after its last step, whichever is first.

What counts is what was sampled, not what was trained on: every trajectory of every draw, so a rule that draws again (`resample`) or drops
groups pays for them. A step is never cut short, so a run spends less than one step beyond its limit.

Left out: seconds, because a run that stops by the clock does not repeat (invariant 6), and money, because no tool charges any yet.
"""

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from spadework.core.config import Config
from spadework.core.errors import InputError
from spadework.core.run import Run

__all__ = ["Budget", "add_spending", "spent_until"]

SPENT = ("tokens", "calls")


class Budget(Config):
    """Limits on what the RL stage of a run spends in all."""

    tokens: int | None = Field(default=None, gt=0)
    """Tokens sampled from the policy."""
    calls: int | None = Field(default=None, gt=0)
    """Tool calls, malformed ones included."""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.tokens is None and self.calls is None:
            raise ValueError("a budget needs tokens or calls; leave it out for none")
        return self

    def share(self, spent: Mapping[str, float]) -> float:
        """The largest share of a limit that is spent; from 1 on the stage ends."""
        return max(spent[name] / limit for name, limit in self.model_dump(exclude_none=True).items())


def add_spending(spent: Mapping[str, float], metrics: Mapping[str, float]) -> dict[str, float]:
    """What is spent in all after a step, from the metrics of its rollout (`rollout/forest.py`): what forks share counts once."""
    return {name: spent[name] + metrics[f"rollout/{name}"] for name in SPENT}


def spent_until(run: Run, step: int) -> dict[str, float]:
    """What a run's RL stage had spent after a step, from its events; nothing before the first.

    Raises:
        InputError: the event of that step does not say.
    """
    if not step:
        return dict.fromkeys(SPENT, 0.0)
    event = next((event for event in run.events("rl") if event["step"] == step), {})
    if missing := [name for name in SPENT if f"spent/{name}" not in event]:
        raise InputError(f"{run.path / 'events.jsonl'}: RL step {step} has no 'spent/{missing[0]}'; start a new run with another --out")
    return {name: float(event[f"spent/{name}"]) for name in SPENT}
