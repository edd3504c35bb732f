"""CRAWLQA: questions of several types about pages that were reached by following links (WebDancer, arXiv 2505.22648, section 2.1).

From a root page, links are followed the way a reader does, one after the other. What is asked is multi-hop (along the links that were
followed), intersection (the last page by facts that only together determine it) or count (how many share a fact with the last page).

In the paper the roots are those of knowledge sites and a model writes the questions from the texts; here any page is a root. Counts need
the graph of a world: pages do not say that they are all there is.
"""

from random import Random
from typing import Literal

from pydantic import Field

from spadework.synthesis.chance import pick, within
from spadework.synthesis.draft import Draft
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.operators import count, star, walk
from spadework.synthesis.statements import Graph

__all__ = ["CrawlQa"]

Type = Literal["multi-hop", "intersection", "count"]


@register("crawlqa", formula="{depth} links (fewest, most) from a root page; then one of {types}", source="WebDancer, 2505.22648")
class CrawlQa(Maker):
    """A crawl, and a question of some type."""

    types: tuple[Type, ...] = Field(default=("multi-hop", "intersection", "count"), min_length=1)
    """Drawn from with equal probability."""
    depth: tuple[int, int] = (2, 4)
    """Fewest and most links that are followed."""

    def draw(self, graph: Graph, random: Random) -> Draft | None:
        """See `Maker`."""
        crawl = walk(graph, random, edges=within(self.depth, random), jump=0, forward=True)
        kind = pick(self.types, random)
        if crawl is None or (kind == "count" and not graph.exact):
            return None
        if kind == "multi-hop":
            return crawl
        found = star(graph, random, start=crawl.answer, together=True)
        return count(graph, found, random) if found and kind == "count" else found
