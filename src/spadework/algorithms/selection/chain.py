"""Several selection rules in a row, with broken trajectories out first and every drop counted.

`Chain` is itself a selection: (list[Group]) -> list[Group]. Its rules come from a recipe as `selection: {zero-variance: {}}`, applied in
the order in which they stand; `broken` needs no mention and, if mentioned to set an option, still goes first. A rule that draws gets a
seed derived from that of the step and its own name, so that adding a rule shifts nobody else's randomness.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from spadework.algorithms.selection.broken import Broken
from spadework.algorithms.selection.selection import RandomRule, selection_rules
from spadework.core.errors import ConfigError
from spadework.core.seeds import derive_seed
from spadework.trajectories.tree import Group

__all__ = ["Chain"]

Selection = Callable[[list[Group]], list[Group]]


class Chain:
    """Named selection rules, broken first."""

    def __init__(self, rules: Sequence[tuple[str, Selection]] = ()) -> None:
        """Put `broken` in front of the rules, or the given one if they have it.

        Args:
            rules: (name, rule) in the order of application.
        """
        first = [item for item in rules if item[0] == "broken"] or [("broken", Broken())]
        self.rules = (*first, *(item for item in rules if item[0] != "broken"))

    @classmethod
    def build(cls, spec: Mapping[str, Mapping[str, Any]], *, source: str = "selection") -> Self:
        """Make a chain from plain values, {name of a registered rule: {options}}.

        Raises:
            ConfigError: an unknown rule or option, the nearest known one is named; or a rule that has nothing to do behind another.
        """
        for name, options in spec.items():
            if not isinstance(options, Mapping):
                raise ConfigError(f"{source}: {name}: expected a mapping of options such as {{}}, found {options!r}")
        rules = [(name, selection_rules.build(name, options, source=source)) for name, options in spec.items()]
        names = list(spec)
        for place, (name, rule) in enumerate(rules):
            for other in names[:place]:
                if other in rule.idle_after:
                    raise ConfigError(f"{source}: '{name}' behind '{other}' has nothing left to do; remove '{other}'")
        return cls(rules)

    def __call__(self, groups: list[Group]) -> list[Group]:
        """The groups that all rules leave."""
        return self.count(groups)[0]

    def count(self, groups: list[Group], *, seed: int = 0) -> tuple[list[Group], dict[str, float]]:
        """As a call, with what each rule dropped.

        Args:
            groups: left as they are.
            seed: of the step; rules that draw depend on it.

        Returns:
            The groups that remain, and the numbers dropped by each rule: `selection/RULE/groups`, `selection/RULE/trajectories`, and
            `selection/RULE/untrained`, those it keeps for the baseline only. `selection/missing` is by how many groups the result is
            smaller than what was given (see `resampling`).
        """
        metrics: dict[str, float] = {}
        given = len(groups)
        for name, rule in self.rules:
            kept = rule.draw(groups, derive_seed(seed, name)) if isinstance(rule, RandomRule) else rule(groups)
            metrics[f"selection/{name}/groups"] = len(groups) - len(kept)
            metrics[f"selection/{name}/trajectories"] = sum(map(len, groups)) - sum(map(len, kept))
            if untrained := _untrained(kept) - _untrained(groups):
                metrics[f"selection/{name}/untrained"] = untrained
            groups = kept
        metrics["selection/missing"] = max(0, given - len(groups))
        return groups, metrics


def _untrained(groups: list[Group]) -> int:
    return sum(trajectory.meta.get("train") is False for group in groups for trajectory in group)
