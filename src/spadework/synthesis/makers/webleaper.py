"""WebLeaper: questions that ask for many entities at once (arXiv 2510.24697).

Basic: all that have a relation to a named anchor. Union: the sets of two anchors that share the relation. Reverse union: the anchor is not
named but described, and has to be deduced before its set is gathered. The required entities are `meta["items"]`; the paper's ISR is the
share of them that was found (`set-f1` pays it together with precision), its ISE their number per turn.

In the paper the sets come from tables of Wikipedia and the union is a maximal biclique over their trees; here from the relations of a
world, because only there all that belongs to a set is known.
"""

from dataclasses import replace
from random import Random
from typing import ClassVar, Literal

from pydantic import Field

from spadework.synthesis.chance import pick
from spadework.synthesis.draft import Draft, constants
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.operators import star
from spadework.synthesis.query import OneOf, Query, Triple, Variable, derivations, witnesses
from spadework.synthesis.statements import Graph

__all__ = ["WebLeaper"]

Variant = Literal["basic", "union", "reverse-union"]
_TRIES = 20
_TARGET, _ANCHOR = Variable("v0"), Variable("v1")


@register(
    "webleaper",
    formula="all of {entities} entities (fewest, most) with a relation to an anchor; {variants}",
    source="WebLeaper, 2510.24697",
)
class WebLeaper(Maker):
    """Lists of entities."""

    needs: ClassVar[Literal["world", "documents", "model", "pages"]] = "world"
    variants: tuple[Variant, ...] = Field(default=("basic", "union", "reverse-union"), min_length=1)
    """Drawn from with equal probability."""
    entities: tuple[int, int] = (3, 20)
    """Fewest and most required entities."""

    def draw(self, graph: Graph, random: Random) -> Draft | None:
        """See `Maker`."""
        variant = pick(self.variants, random)
        found = _anchored(graph, random)
        if found is None:
            return None
        relation, anchor = found
        query = Query(_TARGET, (Triple(_TARGET, relation, anchor),), operation="list")
        if variant == "union":
            other = next((one for one in (pick(graph.of_type(graph.type(anchor)), random) for _ in range(_TRIES)) if one != anchor), None)
            if other is None or not graph.subjects(relation, other):
                return None
            query = replace(query, triples=(Triple(_TARGET, relation, OneOf((anchor, other))),))
        if variant == "reverse-union":
            hidden = star(graph, random, start=anchor)
            if hidden is None:
                return None
            query = replace(query, triples=(Triple(_TARGET, relation, _ANCHOR), *map(_about_anchor, hidden.query.triples)))
        return self._listed(graph, query, variant)

    def _listed(self, graph: Graph, query: Query, variant: str) -> Draft | None:
        fewest, most = self.entities
        held = witnesses(query, graph, most + 1, distinct=False)
        if not fewest <= len(held) <= most or derivations(query, graph, most + 1) != len(held):
            return None
        if any(witness[_TARGET] in constants(query) or len(set(witness.values())) < len(witness) for witness in held):
            return None
        return Draft(Query(_TARGET), ()).edited("list", f"{variant} of {len(held)} entities", query, tuple(held))


def _anchored(graph: Graph, random: Random) -> tuple[str, str] | None:
    """A relation, and an entity that something has it to."""
    incoming = graph.incoming(pick(graph.entities, random))
    if not incoming:
        return None
    edge = pick(incoming, random)
    return edge.relation, edge.object


def _about_anchor(triple: Triple) -> Triple:
    """A fact about the target as one about the anchor."""
    ends = [_ANCHOR if isinstance(end, Variable) else end for end in (triple.subject, triple.object)]
    return Triple(ends[0], triple.relation, ends[1])
