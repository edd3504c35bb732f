"""Keep the tasks of a medium difficulty: an accuracy window, as in SimpleTIR's code (0.1 to 0.9; arXiv 2509.02479).

Accuracy is the share of positive trajectories of a group. Unlike `zero-variance` it also drops groups that are nearly always or hardly ever
solved, whose few deviating members get extreme advantages under a division by the deviation.
"""

from typing import Self

from pydantic import Field, model_validator

from spadework.algorithms.selection.selection import SelectionRule, register
from spadework.core.errors import ConfigError
from spadework.trajectories.tree import Group

__all__ = ["Accuracy"]


@register("accuracy", formula="keeps groups with {low} <= share of positives (R > {positive}) <= {high}", source="SimpleTIR's code")
class Accuracy(SelectionRule):
    """Groups with low <= share of positives <= high."""

    low: float = Field(default=0.1, ge=0, le=1)
    """Least share of positives."""
    high: float = Field(default=0.9, ge=0, le=1)
    """Greatest share of positives."""
    positive: float = 0.0
    """A trajectory with a greater reward is positive."""

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.low > self.high:
            raise ConfigError(f"accuracy: 'low' {self.low} is greater than 'high' {self.high}, so no group would be kept")
        return self

    def __call__(self, groups: list[Group]) -> list[Group]:
        """The groups within the window; an empty group is dropped."""
        return [group for group in groups if len(group) and self.low <= self._share(group) <= self.high]

    def _share(self, group: Group) -> float:
        return sum(trajectory.reward > self.positive for trajectory in group) / len(group)
