"""The selection contract: which groups and trajectories are trained on.

A rule takes the scored groups of one step and returns those that remain, in order. It makes new `Group` objects where it drops members and
changes nothing it was given, so what was dropped stays available for the report. A member that is not trained on may stay in the baseline:
`without` marks a copy with `meta["train"] = False`. A rule that draws gets a seed and derives a stream per group from it, so that a draw
depends neither on other rules nor on other groups. `selection/chain.py` applies several rules and counts.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from spadework.core.registry import Part, Registry
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["RandomRule", "SelectionRule", "register", "selection_rules", "without", "without_those"]


class SelectionRule(Part):
    """A rule with options; its defaults are the published setting. Any callable (list[Group]) -> list[Group] may stand in for one."""

    idle_after: ClassVar[frozenset[str]] = frozenset()
    """Names of rules that leave this one nothing to do when they come first."""

    @abstractmethod
    def __call__(self, groups: list[Group]) -> list[Group]:
        """The groups that remain, in order; the given ones are left as they are."""


class RandomRule(SelectionRule):
    """A rule that draws."""

    def __call__(self, groups: list[Group]) -> list[Group]:
        """As `draw` with seed 0."""
        return self.draw(groups, 0)

    @abstractmethod
    def draw(self, groups: list[Group], seed: int) -> list[Group]:
        """The groups that remain.

        Args:
            groups: left as they are.
            seed: of this rule in this step.
        """


selection_rules: Registry[SelectionRule] = Registry("selection rule", "spadework.algorithms.selection")
"""All registered rules."""
register = selection_rules.register


def without(group: Group, out: Callable[[Trajectory], bool], *, baseline: bool) -> Group | None:
    """The group without training on some of its trajectories.

    Args:
        group: is left as it is.
        out: picks those that are not trained on.
        baseline: whether they stay in the group's baseline.

    Returns:
        The group itself if none is picked; None if nothing is left to train on, or too little to compare.
    """
    picked = [out(trajectory) for trajectory in group]
    if not any(picked):
        return group
    if baseline:
        # Nodes are copied too: a credit rule clears theirs, and another group may train on the same trajectory.
        kept = [
            replace(t, meta={**t.meta, "train": False}, nodes=[replace(node) for node in t.nodes]) if left else t
            for t, left in zip(group, picked, strict=True)
        ]
    else:
        kept = [trajectory for trajectory, left in zip(group, picked, strict=True) if not left]
    return replace(group, trajectories=kept) if len(kept) > 1 and any(t.trained for t in kept) else None


def without_those(groups: list[Group], out: Callable[[Trajectory], bool], *, baseline: bool) -> list[Group]:
    """`without` for all groups."""
    left = [without(group, out, baseline=baseline) for group in groups]
    return [group for group in left if group is not None]
