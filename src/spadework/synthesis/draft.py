"""A question in the making: a query, what its variables stand for, and what was done to it.

Operators turn a draft into another one. The shape that they all keep is a tree whose root is the target: every triple brings in one new
variable or one constant, so a question can be said in nested clauses and `without` a triple means without the branch behind it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from spadework.synthesis.ledger import Edit, Ledger
from spadework.synthesis.query import OneOf, Query, Term, Triple, Variable
from spadework.synthesis.statements import Graph, Statement, is_literal

__all__ = ["Draft", "branches", "clues", "constants", "fresh", "guarded", "ledger", "pages", "places", "statements", "without"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A question in the making."""

    query: Query
    witnesses: tuple[dict[Variable, str], ...]
    """What the variables stand for: once for a find, once per target value for a list, a count or a comparison. Empty with parts."""
    edits: tuple[Edit, ...] = ()
    parts: tuple["Draft", ...] = ()
    """The drafts of `query.parts`."""
    level: int = 0
    """Of difficulty, in makers that have levels; 0: none."""

    @property
    def bound(self) -> dict[Variable, str]:
        """What the variables of a find stand for."""
        return self.witnesses[0]

    @property
    def target(self) -> Variable:
        """The target of the query; the operators make no other."""
        assert isinstance(self.query.target, Variable)
        return self.query.target

    @property
    def answer(self) -> str:
        """What the target of a find stands for."""
        return self.bound[self.target]

    def edited(self, operator: str, did: str, query: Query, witnesses: tuple[dict[Variable, str], ...], level: int = 0) -> "Draft":
        """The draft after one more edit."""
        edit = Edit(operator, did, clues(self.query), clues(query), level)
        return replace(self, query=query, witnesses=witnesses, edits=(*self.edits, edit))


def clues(query: Query) -> int:
    """How many triples and conditions a query has, those of its parts included."""
    return len(query.triples) + len(query.conditions) + sum(map(clues, query.parts))


def constants(query: Query) -> set[str]:
    """The constants that a query names, numbers included."""
    found = {one for triple in query.triples for term in (triple.subject, triple.object) for one in _names(term)}
    return found.union(*map(constants, query.parts), _names(query.target))


def _names(term: Term) -> tuple[str, ...]:
    return () if isinstance(term, Variable) else term.constants if isinstance(term, OneOf) else (term,)


def fresh(query: Query) -> Variable:
    """A variable that the query does not have."""
    taken = [int(term.name[1:]) for triple in query.triples for term in (triple.subject, triple.object) if isinstance(term, Variable)]
    return Variable(f"v{max(taken, default=0) + 1}")


def places(query: Query, *, numbers: bool = False) -> list[int]:
    """Numbers of the triples with a constant entity at one end; with `numbers`, of those with a constant number."""
    found = []
    for index, triple in enumerate(query.triples):
        ends = [end for end in (triple.subject, triple.object) if isinstance(end, str)]
        if ends and is_literal(ends[0]) == numbers:
            found.append(index)
    return found


def guarded(query: Query) -> bool:
    """Whether no constant stands next to the target, so that none may come there again (WebShaper's shortcut, arXiv 2507.15061)."""
    near = [triple for triple in query.triples if query.target in (triple.subject, triple.object)]
    return bool(near) and all(isinstance(triple.subject, Variable) and isinstance(triple.object, Variable) for triple in near)


def without(query: Query, index: int) -> Query:
    """The query without a triple and all that hung on the target by it alone."""
    rest = [triple for number, triple in enumerate(query.triples) if number != index]
    reached: set[Term] = {query.target}
    kept: list[Triple] = []
    while True:
        near = [triple for triple in rest if triple.subject in reached or triple.object in reached]
        if not near:
            break
        kept += near
        rest = [triple for triple in rest if triple not in near]
        reached |= {term for triple in near for term in (triple.subject, triple.object) if isinstance(term, Variable)}
    triples = tuple(triple for triple in query.triples if triple in kept)
    return replace(query, triples=triples, conditions=tuple(c for c in query.conditions if c.variable in reached))


def branches(query: Query, root: Term | None = None, seen: frozenset[int] = frozenset()) -> Iterator[tuple[int, Term, bool]]:
    """The triples of a variable that are not seen yet: number, the term at the other end, whether the variable is the subject."""
    root = query.target if root is None else root
    for index, triple in enumerate(query.triples):
        if index not in seen and root in (triple.subject, triple.object):
            yield index, triple.object if triple.subject == root else triple.subject, triple.subject == root


def statements(draft: Draft, graph: Graph) -> list[Statement]:
    """What the answer rests on, in solving order: what is far from the target first; of comparisons, the numbers last."""
    found: dict[Statement, None] = {}
    for part in draft.parts:
        found |= dict.fromkeys(statements(part, graph))
    query = draft.query
    order = list(_solving_order(query, query.target, frozenset()))
    for witness in draft.witnesses:
        for index in order:
            triple = query.triples[index]
            subjects, objects = (_values(term, witness) for term in (triple.subject, triple.object))
            for subject in subjects:
                for object in graph.objects(subject, triple.relation):
                    if object in objects:
                        found[Statement(subject, triple.relation, object, graph.document(subject))] = None
    for candidate in _candidates(draft) if query.operation == "compare" else ():
        for value in graph.objects(candidate, query.attribute):
            found[Statement(candidate, query.attribute, value, graph.document(candidate))] = None
    return list(found)


def pages(draft: Draft, graph: Graph) -> set[str]:
    """Ids of the pages that the answer rests on."""
    return {edge.document for edge in statements(draft, graph)}


def _solving_order(query: Query, root: Term, seen: frozenset[int]) -> Iterator[int]:
    for index, end, _ in branches(query, root, seen):
        if isinstance(end, Variable):
            yield from _solving_order(query, end, seen | {index})
        yield index


def _values(term: Term, witness: dict[Variable, str]) -> tuple[str, ...]:
    return (witness[term],) if isinstance(term, Variable) else _names(term)


def _candidates(draft: Draft) -> list[str]:
    if draft.parts:
        return [part.answer for part in draft.parts]
    target = draft.query.target
    return list(target.constants) if isinstance(target, OneOf) else [witness[target] for witness in draft.witnesses]


def ledger(draft: Draft, graph: Graph) -> Ledger:
    """The ledger of a finished draft. Statements are not located on their pages (see `ledger.locate`)."""
    stated = tuple(statements(draft, graph))
    named = constants(draft.query) | {key for statement in stated for key in (statement.subject, statement.object)}
    entities = sorted(key for key in named if not is_literal(key))
    types = {key: kind for key in entities if (kind := graph.type(key))}
    edits = (*(edit for part in draft.parts for edit in part.edits), *draft.edits)
    return Ledger(draft.query, stated, {key: graph.names(key) for key in entities}, types, edits)
