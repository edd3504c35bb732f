"""MEM1: several independent questions in one, answered in order (arXiv 2506.15841).

The objectives have nothing to do with each other, so a long task is made of what is no harder than a short one; what grows is what has to
be remembered. The paper trains on 2 objectives and tests on up to 16. It joins questions of HotpotQA and Natural Questions; here an
objective is a chain of look-ups or an entity by facts that only together determine it.
"""

from random import Random

from pydantic import Field

from spadework.synthesis.chance import within
from spadework.synthesis.draft import Draft
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.operators import compose, star, walk
from spadework.synthesis.statements import Graph

__all__ = ["Mem1"]

_TRIES = 20


@register("mem1", formula="{objectives} questions in one, each of {hops} hops (fewest, most)", source="MEM1, 2506.15841")
class Mem1(Maker):
    """Questions composed."""

    objectives: int = Field(default=2, ge=2)
    """How many questions."""
    hops: tuple[int, int] = (1, 2)
    """Fewest and most look-ups of one."""

    def draw(self, graph: Graph, random: Random) -> Draft | None:
        """See `Maker`."""
        drawn = (_objective(graph, within(self.hops, random), random) for _ in range(_TRIES * self.objectives))
        parts = [part for part, _ in zip((part for part in drawn if part), range(self.objectives), strict=False)]
        answers = {part.answer for part in parts}
        return compose(parts) if len(answers) == self.objectives else None


def _objective(graph: Graph, hops: int, random: Random) -> Draft | None:
    if hops == 1 or random.random() < 0.5:
        return walk(graph, random, edges=hops, jump=0, forward=True)
    return star(graph, random, most=hops)
