"""The weight of a reward: a number, or a schedule over the progress of training.

A schedule goes in a straight line from `start` to `end` while progress goes from `from` to `to`, and is constant before and after. Equal
`from` and `to` make a step. Progress is the share of the run's optimiser steps that are done, so a resumed run finds the same weight.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeAlias

from pydantic import ConfigDict, Field, PlainValidator, model_validator

from spadework.core.config import Config
from spadework.core.errors import ConfigError

__all__ = ["Schedule", "Weight", "trains", "weight_at"]


class Schedule(Config):
    """A weight that changes during training: `{start: 1.0, end: 0.1, from: 0.0, to: 0.5}`."""

    model_config = ConfigDict(populate_by_name=True)

    start: float = Field(allow_inf_nan=False)
    """Weight until progress reaches `from`."""
    end: float = Field(allow_inf_nan=False)
    """Weight once progress has reached `to`."""
    begin: float = Field(default=0.0, ge=0, le=1, alias="from")
    """Progress at which it begins to change; `from` in a recipe."""
    until: float = Field(default=1.0, ge=0, le=1, alias="to")
    """Progress at which it stops changing; `to` in a recipe."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.begin > self.until:
            raise ValueError(f"'from' {self.begin:g} is after 'to' {self.until:g}")
        return self

    def at(self, progress: float) -> float:
        """The weight at a progress in [0, 1]."""
        if progress >= self.until:
            return self.end
        if progress <= self.begin:
            return self.start
        return self.start + (self.end - self.start) * (progress - self.begin) / (self.until - self.begin)


def _parse(value: Any) -> float | Schedule:
    if isinstance(value, Schedule):
        return value
    if isinstance(value, Mapping):
        try:
            return Schedule.parse(dict(value), source="schedule")
        except ConfigError as error:
            raise ValueError(str(error)) from None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError("expected a finite number or a schedule {start, end, from, to}")
    return number


Weight: TypeAlias = Annotated[float | Schedule, PlainValidator(_parse)]
"""A field type: a finite number or a schedule."""


def weight_at(weight: float | Schedule, progress: float) -> float:
    """The number that a weight is at a progress in [0, 1]."""
    return weight.at(progress) if isinstance(weight, Schedule) else weight


def trains(weight: float | Schedule) -> bool:
    """Whether the weight is ever other than 0."""
    return bool(weight.start or weight.end) if isinstance(weight, Schedule) else bool(weight)
