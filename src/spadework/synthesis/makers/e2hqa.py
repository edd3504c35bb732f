"""E2HQA, easy to hard: the entities of a simple question are described instead of named (WebDancer, arXiv 2505.22648, section 2.1).

The seed asks for one look-up, like SimpleQA. In every round one named entity is replaced by something that only it is, taken from a page
that tells so; the answer stays what it was, and the number of rounds controls the hops.

In the paper a model searches for the entity and words what it finds; here a statement of the graph describes it. Clues that are not needed
are dropped at the end, and a question that rests on fewer pages than it had rounds is thrown away.
"""

from random import Random

from spadework.synthesis.chance import within
from spadework.synthesis.draft import Draft, pages
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.operators import link, prune, walk
from spadework.synthesis.statements import Graph

__all__ = ["E2hqa"]


@register("e2hqa", formula="a look-up, and {rounds} rounds (fewest, most) that describe what was named", source="WebDancer, 2505.22648")
class E2hqa(Maker):
    """A simple question whose entities are replaced by descriptions."""

    rounds: tuple[int, int] = (1, 4)
    """Fewest and most replacements. The paper gives no number."""

    def draw(self, graph: Graph, random: Random) -> Draft | None:
        """See `Maker`."""
        draft = walk(graph, random, edges=1, jump=0, forward=True)
        rounds = within(self.rounds, random)
        for told in range(1, rounds + 1):
            draft = draft and link(graph, draft, random)
            if draft and len(pages(draft, graph)) <= told:
                return None
        draft = draft and prune(graph, draft, random)
        return draft if draft and len(pages(draft, graph)) > rounds else None
