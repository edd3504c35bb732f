"""DeepDive: a long walk whose last node is asked for an attribute, told in vague clues only (arXiv 2509.10446).

The start of the walk is moved by a few random steps (the released code's "mad walk"), then links are followed to pages not visited yet.
The question asks for a number of the last node, on a document corpus for what its page mentions. No name is left in it: the start is told
by its type and initial or by a number in a range, and nodes near the start get a number in a range each until the answer is the only one.

First paragraphs and short notes have few chains of five pages that can be told without a name: set `nodes` lower there, such as [2, 4].

In the released code a model picks the next link of up to five, as the most sensible one, and words the clues (15 at most, every node
mentioned); here chance picks. That GPT-4o with search fails four times of four is a gate.
"""

from dataclasses import replace
from random import Random
from typing import Literal

from spadework.synthesis.chance import pick, shuffled, within
from spadework.synthesis.draft import Draft, fresh, pages, places
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.operators import obfuscate, prune, walk
from spadework.synthesis.query import Triple, Variable
from spadework.synthesis.statements import Graph, is_literal

__all__ = ["DeepDive"]

_MOST_CLUES = 15


@register(
    "deepdive",
    formula="a walk over {nodes} pages (fewest, most) after {mad} random steps; asks for an attribute of the last; no names",
    source="DeepDive, 2509.10446",
)
class DeepDive(Maker):
    """A long walk in the fog."""

    nodes: tuple[int, int] = (5, 9)
    """Fewest and most pages of the walk."""
    mad: tuple[int, int] = (1, 3)
    """Fewest and most random steps before it starts."""

    def draw(self, graph: Graph, random: Random) -> Draft | None:
        """See `Maker`."""
        edges = within(self.nodes, random) - graph.exact
        draft = walk(graph, random, edges=edges, jump=0, forward=True, start=_moved(graph, within(self.mad, random), random))
        if draft is None:
            return None
        path = [variable for variable in draft.bound if variable != draft.target]
        if graph.exact:
            draft = _number_asked(graph, draft, random)
        vague = _start_hidden(graph, draft, random)
        for variable in path:
            if vague is not None:
                break
            draft = _clue(graph, draft, random, variable)
            vague = _start_hidden(graph, draft, random)
        vague = vague and prune(graph, vague, random)
        if vague is None or len(vague.query.triples) > _MOST_CLUES:
            return None
        fewest, most = self.nodes
        return vague if fewest <= len(pages(vague, graph)) <= most else None


def _moved(graph: Graph, steps: int, random: Random) -> str:
    """A random entity, and where random links lead from it."""
    node = pick(graph.entities, random)
    for _ in range(steps):
        links = [edge.object for edge in graph.outgoing(node) if not is_literal(edge.object)]
        node = pick(links, random) if links else pick(graph.entities, random)
    return node


def _number_asked(graph: Graph, draft: Draft, random: Random) -> Draft:
    """Asks for a number of what was asked for."""
    asked = pick([edge for edge in graph.outgoing(draft.answer) if is_literal(edge.object)], random)
    value = fresh(draft.query)
    query = replace(draft.query, target=value, triples=(*draft.query.triples, Triple(draft.target, asked.relation, value)))
    return draft.edited("walk", f"asks for {asked.relation} of it", query, ({**draft.bound, value: asked.object},))


def _clue(graph: Graph, draft: Draft, random: Random, variable: Variable) -> Draft:
    """One number more of a node, as a range."""
    numbers = [edge for edge in graph.outgoing(draft.bound[variable]) if is_literal(edge.object)]
    if not numbers:
        return draft
    edge = pick(numbers, random)
    query = replace(draft.query, triples=(*draft.query.triples, Triple(variable, edge.relation, edge.object)))
    named = draft.edited("intersect", f"{graph.name(edge.subject)} {edge.relation} was added", query, draft.witnesses)
    return obfuscate(graph, named, random, 1, len(query.triples) - 1) or draft


def _start_hidden(graph: Graph, draft: Draft, random: Random) -> Draft | None:
    """The start, which is the only name, made vague; None while there would be other answers."""
    named = places(draft.query)
    if len(named) != 1:  # the pages of a corpus may state the same of the start twice, or lead back to it
        return None
    levels: list[Literal[2, 3]] = [2, 3]
    for level in shuffled(levels, random):
        if made := obfuscate(graph, draft, random, level, named[0]):
            return made
    return None
