"""InfoSeek: a research tree whose root is the answer (arXiv 2509.00375).

A planner grows the tree by two actions. Breadth: facts about an entity until only together they determine it. Depth: a named leaf is
replaced by an entity that has such facts of its own. So every inner entity is the only solution of its branch (sufficiency), and clues
without which the answer is still the only one are dropped (necessity).

In the released code a model plans, reads pages and words claims, in at most five actions; here chance plans and the graph has the facts.
The paper's filters by a small model without pages, and with the gold pages, are gates.
"""

from dataclasses import replace
from random import Random

from spadework.synthesis.chance import shuffled, within
from spadework.synthesis.draft import Draft, constants, fresh, pages, places
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.operators import prune, star
from spadework.synthesis.query import Term, Triple, Variable
from spadework.synthesis.statements import Graph

__all__ = ["InfoSeek"]


@register("infoseek", formula="a root with facts, {depth} leaves (fewest, most) grown into branches", source="InfoSeek, 2509.00375")
class InfoSeek(Maker):
    """A tree of entities, each determined by its branch."""

    depth: tuple[int, int] = (1, 4)
    """Fewest and most leaves that become branches; with the root at most the five actions of the released code."""

    def draw(self, graph: Graph, random: Random) -> Draft | None:
        """See `Maker`."""
        draft = star(graph, random, together=graph.exact)
        grown = within(self.depth, random)
        for _ in range(grown):
            draft = draft and _deepened(graph, draft, random)
        draft = draft and prune(graph, draft, random)
        return draft if draft and len(pages(draft, graph)) >= 2 else None


def _deepened(graph: Graph, draft: Draft, random: Random) -> Draft | None:
    """The draft with a leaf as an entity that has facts of its own."""
    taken = constants(draft.query) | set(draft.bound.values())
    for place in shuffled(places(draft.query), random):
        triple = draft.query.triples[place]
        leaf = triple.subject if isinstance(triple.subject, str) else triple.object
        assert isinstance(leaf, str)
        branch = star(graph, random, start=leaf)
        if branch is None or constants(branch.query) & taken:
            continue
        variable = fresh(draft.query)
        facts = [Triple(_put(one.subject, variable), one.relation, _put(one.object, variable)) for one in branch.query.triples]
        opened = triple._replace(subject=variable) if triple.subject == leaf else triple._replace(object=variable)
        query = replace(draft.query, triples=(*draft.query.triples[:place], opened, *draft.query.triples[place + 1 :], *facts))
        # The facts are true of the leaf alone, so the question is what it was.
        return draft.edited("deepen", f"{graph.name(leaf)}, by {len(facts)} facts", query, ({**draft.bound, variable: leaf},))
    return None


def _put(term: Term, variable: Variable) -> Term:
    return variable if isinstance(term, Variable) else term
