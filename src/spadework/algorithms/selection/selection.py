"""The selection contract: which groups and trajectories are trained on.

A rule takes the scored groups of one step and returns those that remain, in order. It makes new `Group` objects where it drops members and
changes nothing it was given, so what was dropped stays available for the report. `selection/chain.py` applies several rules and counts.
"""

from abc import abstractmethod

from spadework.core.config import Config
from spadework.core.registry import Registry
from spadework.trajectories.tree import Group

__all__ = ["SelectionRule", "register", "selection_rules"]


class SelectionRule(Config):
    """A rule with options; its defaults are the published setting. Any callable (list[Group]) -> list[Group] may stand in for one."""

    @abstractmethod
    def __call__(self, groups: list[Group]) -> list[Group]:
        """The groups that remain, in order; the given ones are left as they are."""


selection_rules: Registry[SelectionRule] = Registry("selection rule", "spadework.algorithms.selection")
"""All registered rules."""
register = selection_rules.register
