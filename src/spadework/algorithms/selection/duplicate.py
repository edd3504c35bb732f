"""Fill the slots of groups without a spread with copies of groups that have one: DUPO of WebSailor (arXiv 2507.02592).

DAPO samples on until the batch is full, which makes agents wait for the slowest new trajectories; this needs no further rollout. Copies are
drawn at random, each group once before any is drawn again. The batch keeps its size, and a copied group weighs as often as it stands in it.
Not done here: DUPO's removal, before training, of tasks that are solved every time.
"""

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from spadework.algorithms.selection.selection import RandomRule, register
from spadework.algorithms.selection.zero_variance import spread
from spadework.core.seeds import rng
from spadework.trajectories.tree import Group

__all__ = ["Duplicate"]


@register(
    "duplicate",
    formula="replaces groups whose rewards differ by at most {tolerance} by copies of the others",
    source="DUPO, arXiv 2507.02592",
)
class Duplicate(RandomRule):
    """Groups of equal rewards are replaced by copies of the others; without others, nothing is left."""

    idle_after: ClassVar[frozenset[str]] = frozenset({"zero-variance"})

    tolerance: float = Field(default=1e-9, ge=0)
    """Rewards that differ by no more are equal."""

    def draw(self, groups: list[Group], seed: int) -> list[Group]:
        """The groups that have a spread, then as many copies as there were without one; copies have `meta["copy"]`, from 1."""
        kept = [group for group in groups if spread(group) > self.tolerance]
        stream, copies = rng(seed), list[Group]()
        while kept and len(kept) + len(copies) < len(groups):
            chosen = stream.sample(kept, min(len(kept), len(groups) - len(kept) - len(copies)))
            number = len(copies) // len(kept) + 1
            copies += [replace(group, meta={**group.meta, "copy": number}) for group in chosen]
        return kept + copies
