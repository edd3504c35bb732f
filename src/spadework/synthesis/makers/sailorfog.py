"""SailorFog-QA: questions on a walked subgraph, in three levels of uncertainty (WebSailor, arXiv 2507.02592, section 3.1).

Level 1: a path from a name, one look-up after the other. Level 2: a tree of named clues that have to be put together; some of them can only
be followed backwards. Level 3: such a tree whose names and numbers are made vague wherever the answer stays the only one. Clues that are
not needed are dropped at the end, on every level.

In the paper rare entities of Wikidata start the walks, and a model words the subgraph; here every entity may start one, because those of a
world are equally rare.
"""

from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Literal

from pydantic import Field

from spadework.synthesis.chance import pick, within
from spadework.synthesis.draft import Draft, places, statements
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.operators import obfuscate, prune, walk
from spadework.synthesis.statements import Graph

__all__ = ["SailorFog"]

Level = Literal[1, 2, 3]


@register(
    "sailorfog", formula="a walk of {edges} edges (fewest, most), jumps back with {jump}; levels {levels}", source="WebSailor, 2507.02592"
)
class SailorFog(Maker):
    """A walk with jumps back, a subgraph, and fog."""

    levels: tuple[Level, ...] = Field(default=(1, 2, 3), min_length=1)
    """Of a draw, with equal probability. Those of levels 2 and 3 fail more often, so a batch has fewer of them."""
    edges: tuple[int, int] = (2, 6)
    """Fewest and most edges of the walk."""
    jump: float = Field(default=0.3, ge=0, le=1)
    """Probability of going on from an earlier node. The paper gives none."""
    hops: tuple[int, int] = (2, 6)
    """Fewest and most pages that the answer may rest on."""

    def draw(self, graph: Graph, random: Random) -> Draft | None:
        """See `Maker`."""
        level = pick(self.levels, random)
        edges = within(self.edges, random)
        if level == 1:
            draft = walk(graph, random, edges=edges, jump=0, forward=True)
        else:
            draft = walk(graph, random, edges=edges, jump=self.jump, numbers=level == 3)
        if draft is None:
            return None
        if level == 3:
            draft = _fog(graph, draft, random)
        draft = draft and prune(graph, draft, random)
        if draft is None or (level == 3 and not draft.query.conditions):
            return None
        facts = statements(draft, graph)
        if level == 2 and facts[-1].object == draft.answer and all(one.object == after.subject for one, after in pairwise(facts)):
            return None  # a path that the walk happened to take forwards, which is level 1
        fewest, most = self.hops
        return replace(draft, level=level) if fewest <= len({edge.document for edge in facts}) <= most else None


def _fog(graph: Graph, draft: Draft, random: Random) -> Draft | None:
    """Everything that can be made vague is, name by name and number by number; None if nothing can."""
    vague = draft
    for triple in draft.query.triples:
        if triple not in vague.query.triples:
            continue
        place = vague.query.triples.index(triple)
        if place in places(vague.query, numbers=True):
            vague = obfuscate(graph, vague, random, 1, place) or vague
        elif place in places(vague.query):
            first: Level = 2 if random.random() < 0.5 else 3
            vague = obfuscate(graph, vague, random, first, place) or obfuscate(graph, vague, random, 2 if first == 3 else 3, place) or vague
    return vague if vague is not draft else None
