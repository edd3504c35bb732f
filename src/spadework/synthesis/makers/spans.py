"""Span look-up, the maker of the spine: a name is blanked in a sentence, and its page must be found to fill it in (`synthesis/spans.py`).

One hop, or two where the first name is the title of the page on which the second one is blanked. Questions are checked by search: the rest
of the sentence leads to the page, the page must be needed, and what is asked second is not found with the question alone.

Pages only, because a world has no sentences worth a blank. Two draws of a page may give the same question, which is then dropped. Exact
gates (`uniqueness`, `necessity`) ask the graph of the corpus, which does not know names that are no pages.
"""

from functools import lru_cache
from random import Random
from typing import ClassVar, Literal

from pydantic import Field

from spadework.synthesis.chance import pick
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.spans import SpanPages, Split, page_split, page_tasks
from spadework.synthesis.statements import Graph
from spadework.tasks.task import Task

__all__ = ["Spans"]


@register("spans", formula="a name blanked on a page of split {split}, {hops} hops; found by BM25, told nowhere else", source="Spadework")
class Spans(Maker):
    """Names blanked in sentences."""

    needs: ClassVar[Literal["world", "documents", "model", "pages"]] = "pages"
    hops: tuple[Literal[1, 2], ...] = Field(default=(1, 2), min_length=1)
    """Drawn from with equal probability."""
    split: Split = "train"
    """All pages of a task are of it, by a hash of their ids."""

    def draw(self, graph: Graph, random: Random) -> Task | None:
        """See `Maker`."""
        assert isinstance(graph, CorpusGraph)
        pages = _pages(graph)
        hops = pick(self.hops, random)
        page = pages.documents[pick(graph.entities, random)]
        if page_split(page.id) != self.split:
            return None
        return next(page_tasks(pages, page, random, hops=hops), None)


@lru_cache(maxsize=1)
def _pages(graph: CorpusGraph) -> SpanPages:
    return SpanPages(graph.corpus)
