"""Unanswerable twins: a question that the world answers, and the same question with one change that leaves it without an answer.

The change is another entity of the same type in the place of a name, or another relation between the same types. That nothing fits is
exact, also for a reader who lets two descriptions mean one entity. What the twin comes from would answer it but for that one clue, and
stands on the evidence pages: a policy that matches most clues and stops looking gives a wrong answer. The gold answer is to abstain
(`rewards/abstention.py`), and `meta["answerable"]` is false; `meta["twin"]` has the answerable question.

As in MuSiQue-Full (arXiv 2108.00573), half of the tasks are answerable, so abstaining always is worth nothing; there the twin lacks a
paragraph, here it contradicts the pages. Worlds only: what no page of a corpus says may still be true.
"""

from dataclasses import replace
from random import Random
from typing import ClassVar, Literal

from pydantic import Field

from spadework.corpus.worlds.schema import RELATIONS
from spadework.rewards.abstention import Abstention
from spadework.synthesis.chance import pick, shuffled, within
from spadework.synthesis.draft import Draft, ledger, places
from spadework.synthesis.ledger import with_ledger
from spadework.synthesis.makers.maker import Maker, finish, register
from spadework.synthesis.operators import prune, walk
from spadework.synthesis.query import Query, solve
from spadework.synthesis.statements import Graph
from spadework.tasks.task import Task

__all__ = ["Unanswerable"]

ABSTAIN: tuple[str, ...] = Abstention.model_fields["phrases"].default
"""Gold answers of a twin."""
_OTHERS = 2
"""Names that are drawn for one of the question."""
_TRIES = 6
"""Changes that are tried."""
_ALIKE = {
    relation.name: [other.name for other in relations if other.target == relation.target and other is not relation]
    for relations in RELATIONS.values()
    for relation in relations
}
"""By relation: others between the same types."""


@register(
    "unanswerable",
    formula="a walk of {edges} edges (fewest, most); with {answerable} as it is, else changed so that nothing fits",
    source="Spadework; pairs as in MuSiQue-Full, 2108.00573",
)
class Unanswerable(Maker):
    """Questions with and without an answer."""

    needs: ClassVar[Literal["world", "documents", "model", "pages"]] = "world"
    edges: tuple[int, int] = (2, 4)
    """Fewest and most edges of the walk."""
    answerable: float = Field(default=0.5, ge=0, le=1)
    """Probability of keeping the answerable question."""

    def draw(self, graph: Graph, random: Random) -> Task | None:
        """See `Maker`."""
        draft = walk(graph, random, edges=within(self.edges, random), jump=0.5)
        draft = draft and prune(graph, draft, random)
        changed = draft and _changed(graph, draft, random)
        original = finish(draft, graph, random, self.registered_as) if draft and changed else None
        if draft is None or changed is None or original is None or random.random() < self.answerable:
            return original
        twin = finish(changed, graph, random, self.registered_as)
        if twin is None:
            return None
        rest = ledger(draft, graph)
        names = {key: graph.names(key) for key in sorted({*rest.names, *ledger(changed, graph).names})}
        kept = replace(rest, query=changed.query, edits=changed.edits, names=names, types={key: graph.type(key) for key in names})
        meta = {
            "answerable": False,
            "twin": {"question": original.question, "answers": list(original.answers)},
        }
        task = twin.model_copy(update={"answers": ABSTAIN, "evidence": kept.documents, "hops": len(kept.documents), "meta": meta})
        return with_ledger(task, kept)


def _changed(graph: Graph, draft: Draft, random: Random) -> Draft | None:
    """The draft with one name or relation changed so that nothing fits; its witness is what fitted before."""
    options: list[tuple[str, Query]] = []
    for place in places(draft.query):
        triple = draft.query.triples[place]
        named = triple.subject if isinstance(triple.subject, str) else triple.object
        assert isinstance(named, str)
        for other in (pick(graph.of_type(graph.type(named)), random) for _ in range(_OTHERS)):
            if other not in draft.bound.values():
                options.append((f"{graph.name(other)} for {graph.name(named)}", _with(draft.query, place, named, other)))
        options += [(f"{other} for {triple.relation}", _related(draft.query, place, other)) for other in _ALIKE[triple.relation]]
    for did, query in shuffled(options, random)[:_TRIES]:
        if not solve(query, graph, 1, distinct=False):
            return draft.edited("change", did, query, draft.witnesses)
    return None


def _with(query: Query, place: int, old: str, new: str) -> Query:
    triple = query.triples[place]
    changed = triple._replace(subject=new) if triple.subject == old else triple._replace(object=new)
    return replace(query, triples=(*query.triples[:place], changed, *query.triples[place + 1 :]))


def _related(query: Query, place: int, relation: str) -> Query:
    changed = query.triples[place]._replace(relation=relation)
    return replace(query, triples=(*query.triples[:place], changed, *query.triples[place + 1 :]))
