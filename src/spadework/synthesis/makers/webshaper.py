"""WebShaper: layer-wise expansion of a formal question (arXiv 2507.15061, sections 3 and 4).

A seed question names its constants. In every layer all constants are replaced, each by a variable and a triple that determines it, so the
answer stays what it was while the constants move away from the target. No constant ends beside another one (redundancy) or beside the
target (shortcut). With some probability a constant is merged with another one (R-Union). Clues that are not needed are dropped.

The paper's expander is an agent that searches for the triples and has a model word and validate them; here the graph has them. Its second
check, that a model can not answer a sub-question from memory, is a gate.
"""

from random import Random

from pydantic import Field

from spadework.synthesis.chance import within
from spadework.synthesis.draft import Draft, guarded, pages, places
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.operators import link, prune, union, walk
from spadework.synthesis.statements import Graph

__all__ = ["WebShaper"]


@register(
    "webshaper",
    formula="a seed of {seed_edges} edges, {layers} layers of links (fewest, most), R-Union with {union}",
    source="WebShaper, 2507.15061",
)
class WebShaper(Maker):
    """A seed, and layers of sub-questions around it."""

    seed_edges: tuple[int, int] = (1, 3)
    """Fewest and most triples of the seed question."""
    layers: tuple[int, int] = (1, 2)
    """Fewest and most layers."""
    union: float = Field(default=0.2, ge=0, le=1)
    """Probability of merging a constant."""

    def draw(self, graph: Graph, random: Random) -> Draft | None:
        """See `Maker`."""
        draft = walk(graph, random, edges=within(self.seed_edges, random), jump=1)
        for _ in range(within(self.layers, random)):
            draft = draft and _layer(graph, draft, random)
        if draft is None:
            return None
        if random.random() < self.union:
            draft = union(graph, draft, random) or draft
        # A clue that is not needed could be taken for a short cut, or for a check that costs a page.
        draft = prune(graph, draft, random)
        # On the pages of a corpus both ends of a layer may be told by one page; then there is nothing to put together.
        return draft if guarded(draft.query) and len(pages(draft, graph)) > 1 else None


def _layer(graph: Graph, draft: Draft, random: Random) -> Draft | None:
    """All constants replaced; None if one can not be."""
    made: Draft | None = draft
    # A replaced constant's triple keeps its place, and new triples stand at the end.
    for place in places(draft.query):
        made = made and link(graph, made, random, place)
    return made
