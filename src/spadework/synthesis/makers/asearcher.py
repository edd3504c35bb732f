"""ASearcher's question agent: fuzz, select and inject, brainstorm, exit (arXiv 2508.07976, section 3).

From a look-up on a random page the question is edited, one action a turn. Select: a named entity is replaced by a fact about it. Fuzz: a
name is made vague. Brainstorm: a fact about any entity of the question is added, which the statements so far do not cover (one about what
they mention would tell nothing new). Exit: what is not needed is dropped, and the question is ready if it still rests on enough pages. An
edit that fails a gate leaves the last accepted question.

In the paper a model picks the actions, words the edits and judges them, and the question is ready when eight closed-book attempts are all
wrong; here chance picks, the graph judges (one answer; covered or not), and closed-book attempts are a gate of curation.
"""

from random import Random
from typing import Literal

from pydantic import Field

from spadework.synthesis.chance import pick
from spadework.synthesis.draft import Draft, pages
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.operators import inject, intersect, obfuscate, prune, walk
from spadework.synthesis.statements import Graph, is_literal

__all__ = ["Asearcher"]

_ACTIONS = ("select", "select", "fuzz", "brainstorm", "exit")


@register("asearcher", formula="at most {turns} edits until {hops} pages (fewest, most) are needed", source="ASearcher, 2508.07976")
class Asearcher(Maker):
    """A look-up, edited until it is hard."""

    turns: int = Field(default=16, ge=1)
    """Most turns."""
    hops: tuple[int, int] = (3, 6)
    """Fewest and most pages that the answer may rest on. The paper stops by attempts of a model."""

    def draw(self, graph: Graph, random: Random) -> Draft | None:
        """See `Maker`."""
        draft = walk(graph, random, edges=1, jump=0, forward=True)
        if draft is None:
            return None
        fewest, most = self.hops
        for _ in range(self.turns):
            action = pick(_ACTIONS, random)
            if action == "exit":
                draft = prune(graph, draft, random)
                if len(pages(draft, graph)) >= fewest:
                    return draft
            elif (edited := _edited(graph, draft, random, action)) and len(pages(edited, graph)) <= most:
                draft = edited
        draft = prune(graph, draft, random)
        return draft if len(pages(draft, graph)) >= fewest else None


def _edited(graph: Graph, draft: Draft, random: Random, action: str) -> Draft | None:
    if action == "select":
        return inject(graph, draft, random)
    if action == "fuzz":
        levels: tuple[Literal[2, 3], ...] = (2, 3)
        return obfuscate(graph, draft, random, pick(levels, random))
    variable = pick([one for one, value in draft.bound.items() if not is_literal(value)], random)
    return intersect(graph, draft, random, variable)
