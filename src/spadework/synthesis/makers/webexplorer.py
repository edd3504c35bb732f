"""WebExplorer: explore, then evolve from long to short (arXiv 2509.06501).

Explore: a wide walk around a page, and a question that tells all of it. Evolve, five times: the most telling clue that is left is removed,
or made vague where the answer would not stay the only one without it. The question gets shorter and harder and keeps its answer.

In the paper a model explores by search and evolves the text, with examples of BrowseComp; here the clues are statements of the graph.
"""

from random import Random

from pydantic import Field

from spadework.synthesis.chance import within
from spadework.synthesis.draft import Draft, pages
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.operators import evolve, prune, walk
from spadework.synthesis.query import Triple
from spadework.synthesis.statements import Graph

__all__ = ["WebExplorer"]


@register(
    "webexplorer", formula="a question on {edges} statements (fewest, most), evolved {rounds} times", source="WebExplorer, 2509.06501"
)
class WebExplorer(Maker):
    """A long question made short."""

    edges: tuple[int, int] = (4, 7)
    """Fewest and most statements that are explored."""
    rounds: int = Field(default=5, ge=1)
    """Times that the question is evolved."""

    def draw(self, graph: Graph, random: Random) -> Draft | None:
        """See `Maker`."""
        draft = walk(graph, random, edges=within(self.edges, random), jump=0.5)
        if draft is None:
            return None
        evolved = draft
        needed: set[Triple] = set()
        for _ in range(self.rounds):
            evolved = evolve(graph, evolved, random, needed) or evolved
        evolved = prune(graph, evolved, random)
        return evolved if evolved is not draft and len(pages(evolved, graph)) >= 2 else None
