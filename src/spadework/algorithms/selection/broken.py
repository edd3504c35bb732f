"""Drop broken trajectories, and groups with too few left to compare (invariant 4). The chain always applies it first.

An infrastructure failure says nothing about the policy; trained on as a zero reward it teaches the policy to avoid tools.
"""

from dataclasses import replace

from pydantic import Field

from spadework.algorithms.selection.selection import SelectionRule, register
from spadework.trajectories.tree import Group, Status

__all__ = ["Broken"]


@register("broken", formula="drops what infrastructure broke, and groups with fewer than {minimum} left", source="invariant 4")
class Broken(SelectionRule):
    """Keep what infrastructure did not break."""

    minimum: int = Field(default=2, ge=1)
    """A group with fewer unbroken trajectories is dropped: a group baseline needs two."""

    def __call__(self, groups: list[Group]) -> list[Group]:
        """The groups with enough unbroken trajectories, without the broken ones."""
        kept = [replace(group, trajectories=[t for t in group if t.status is not Status.BROKEN]) for group in groups]
        return [group for group in kept if len(group) >= self.minimum]
