"""Bound how many negatives are trained on per positive: SFR-DeepResearch (arXiv 2509.06283), Kimi-Researcher (blog), Tongyi (2510.24701).

All three drop negatives, because a mass of them drives entropy and format into collapse; none says which or how many. What is too much is
drawn uniformly and by default stays in the baseline. Without any positive nothing is trained. `positives` bounds tasks that are easy.
"""

import random
from collections.abc import Sequence
from functools import partial
from typing import Literal

from pydantic import Field

from spadework.algorithms.selection.selection import RandomRule, register, without
from spadework.core.seeds import rng
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["SignRatio"]

Place = tuple[int, Trajectory]


@register(
    "sign-ratio", formula="per {scope}: negatives / positives <= {negatives}, positives / negatives <= {positives}", source="SFR-DR, Kimi"
)
class SignRatio(RandomRule):
    """At most `negatives` per positive, and `positives` per negative."""

    negatives: float | None = Field(default=1.0, gt=0)
    """Negatives per positive; None: as many as there are. Unpublished: this value is ours."""
    positives: float | None = Field(default=None, gt=0)
    """Positives per negative."""
    scope: Literal["batch", "group"] = "batch"
    """Where they are counted."""
    baseline: bool = True
    """Whether what is not trained stays in its group's baseline."""
    positive: float = 0.0
    """A trajectory with a greater reward is positive."""

    def draw(self, groups: list[Group], seed: int) -> list[Group]:
        """The groups without training on what is too much."""
        places = [[(number, t) for t in group if t.trained] for number, group in enumerate(groups)]
        if self.scope == "batch":
            out = self._surplus([place for each in places for place in each], rng(seed))
        else:
            out = set().union(*(self._surplus(each, rng(seed, group.key)) for each, group in zip(places, groups, strict=True)))
        left = [without(group, partial(_among, out, number), baseline=self.baseline) for number, group in enumerate(groups)]
        return [group for group in left if group is not None]

    def _surplus(self, places: Sequence[Place], stream: random.Random) -> set[tuple[int, int]]:
        signs = [[p for p in places if (p[1].reward > self.positive) is sign] for sign in (True, False)]
        out = []
        for own, other, bound in ((signs[1], signs[0], self.negatives), (signs[0], signs[1], self.positives)):
            if bound is not None:
                out += stream.sample(own, max(0, len(own) - int(bound * len(other))))
        return {(number, id(trajectory)) for number, trajectory in out}


def _among(out: set[tuple[int, int]], number: int, trajectory: Trajectory) -> bool:
    return (number, id(trajectory)) in out
