"""The formal question, and its exact answer on a graph.

A query is a target variable and a set of triples over variables and constants: WebShaper's knowledge projections (arXiv 2507.15061) written
out flat. A constant that is a set is their R-Union, `R(S1 | S2) = R(S1) | R(S2)`. Conditions on a variable (its type, the initial of its
name, the range of a number) are what is left of a constant that was obfuscated.

Two variables never stand for the same entity; a variable may stand for a constant of the query, and two numbers may be equal. Number values
are texts with a leading `=` (`statements.literal`).

`solve` is a backtracking join: always the triple with the fewest candidates next, and nothing is looked for again once a target value has
its witness. Its time is that of the neighbourhood of the constants; a query without any starts at its most selective condition.

Most often the loosest reader is asked, who lets two variables be one entity, and nearly every query is a tree (`draft.py`). What can stand
below a value then does not depend on how the value was reached, so it is looked at once (after Yannakakis, VLDB 1981).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

from spadework.core.errors import InputError
from spadework.synthesis.statements import Graph, is_literal, number

__all__ = [
    "Between",
    "Condition",
    "Initial",
    "OfType",
    "OneOf",
    "Operation",
    "Query",
    "Term",
    "Triple",
    "Variable",
    "answer",
    "answer_items",
    "derivations",
    "solve",
    "unique",
    "witnesses",
]

Operation = Literal["find", "count", "list", "compare", "compose"]


class Variable(NamedTuple):
    """Something that is not named."""

    name: str


class OneOf(NamedTuple):
    """Any one of several constants (R-Union)."""

    constants: tuple[str, ...]


Term = str | Variable | OneOf
"""A constant is the id of an entity, or a number."""


class Triple(NamedTuple):
    """The subject has the relation to the object."""

    subject: Term
    relation: str
    object: Term


@dataclass(frozen=True, slots=True)
class OfType:
    """The variable is of a type."""

    variable: Variable
    type: str


@dataclass(frozen=True, slots=True)
class Initial:
    """The name of the variable begins with a letter, or with several; case is ignored."""

    variable: Variable
    letter: str


@dataclass(frozen=True, slots=True)
class Between:
    """The variable is a whole number from `low` to `high`, both included."""

    variable: Variable
    low: int
    high: int


Condition = OfType | Initial | Between


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked.

    - find: the only value of the target; list: all its values; count: how many there are.
    - compare: which of the candidates has the smallest (`smaller`) or largest number of `attribute`. Candidates are the values of the
      target, or the answers of `parts` where there are some.
    - compose: the answers of all `parts`, in order (MEM1, arXiv 2506.15841).

    A target that is a `OneOf` has its constants as values. With parts, target and triples of the query itself are not read.
    """

    target: Variable | OneOf
    triples: tuple[Triple, ...] = ()
    conditions: tuple[Condition, ...] = ()
    operation: Operation = "find"
    attribute: str = ""
    smaller: bool = False
    parts: tuple["Query", ...] = ()


def solve(query: Query, graph: Graph, limit: int | None = None, *, distinct: bool = True) -> list[str]:
    """Values of the target: all candidates of a find, count or list; the winners of a comparison; the values of all parts of a composition.

    Args:
        query: what is asked.
        graph: where.
        limit: stop at so many values; whether an answer is unique takes 2.
        distinct: False also lets two variables stand for one entity, the loosest way to read a question. Its values include the others.
    """
    if query.operation == "compare":
        return _winners(query, graph, distinct)[:limit]
    if query.operation == "compose":
        return [value for part in query.parts for value in solve(part, graph, limit, distinct=distinct)][:limit]
    if isinstance(query.target, OneOf):
        return list(query.target.constants)[:limit]
    if not distinct and (tree := _Tree(query, graph, 1)).sound:
        return list(islice(tree.values(), limit))
    return [witness[query.target] for witness in witnesses(query, graph, limit, distinct=distinct)]


def witnesses(query: Query, graph: Graph, limit: int | None = None, *, distinct: bool = True) -> list[dict[Variable, str]]:
    """For every value of the target one way to satisfy the triples: what each variable stands for. Operation and parts are not read.

    Args: see `solve`.
    """
    join = _Join(query, graph, distinct)
    for bound in join.ways([None] * len(join.variables), join.triples):
        target = bound[0]
        if target is not None and target[0] not in join.found:
            join.found[target[0]] = bound.copy()
            if limit is not None and len(join.found) >= limit:
                break
    return [
        {variable: value[0] for variable, value in zip(join.variables, bound, strict=True) if value is not None}
        for bound in join.found.values()
    ]


def derivations(query: Query, graph: Graph, limit: int) -> int:
    """In how many ways the triples can be satisfied, up to a limit, by a reader who lets two descriptions mean one entity.

    If an answer has only one, no page that it rests on can be left out.
    """
    tree = _Tree(query, graph, limit)
    if tree.sound:
        return min(limit, tree.all_ways())
    join = _Join(query, graph, distinct=False)
    return sum(1 for _ in islice(join.ways([None] * len(join.variables), join.triples), limit))


def unique(query: Query, graph: Graph) -> bool:
    """Whether the graph gives the question exactly one answer, also to a reader who lets two descriptions mean one entity.

    A list or a count has one if there is something to list.
    """
    if query.operation == "compose":
        return all(unique(part, graph) for part in query.parts)
    if query.operation == "compare" and not all(unique(part, graph) for part in query.parts):
        return False
    if query.operation in ("list", "count"):
        found = solve(query, graph)
        return bool(found) and set(found) == set(solve(query, graph, distinct=False))
    loose = solve(query, graph, 2, distinct=False)
    return len(loose) == 1 and solve(query, graph, 1) == loose


def answer(query: Query, graph: Graph) -> tuple[str, ...]:
    """The gold answer, then its aliases: the names of an entity, a number, or the parts of a list or composition joined by `; `.

    Raises:
        InputError: the graph gives no answer, or a find or comparison has several.
    """
    items = answer_items(query, graph)
    return tuple(items[0]) if query.operation in ("find", "compare", "count") else ("; ".join(item[0] for item in items),)


def answer_items(query: Query, graph: Graph) -> list[list[str]]:
    """The parts of the answer, each with its aliases: what `task.meta["items"]` holds for lists and compositions (`rewards/sets.py`).

    Raises:
        InputError: see `answer`.
    """
    if query.operation == "compose":
        return [list(answer(part, graph)) for part in query.parts]
    found = solve(query, graph)
    if not found or (query.operation in ("find", "compare") and len(found) > 1):
        raise InputError(f"the question has {len(found)} answers on {graph.source}, not one")
    if query.operation == "count":
        return [[str(len(found))]]
    return [list(graph.names(value)) for value in found]


_FEW = 30
"""Candidates of a triple from which on it is worth looking for a variable that has fewer by its conditions."""
_Compiled = tuple[int, tuple[str, ...], str, int, tuple[str, ...]]
"""A triple: number of the subject's variable (-1: constants), the constants, the relation, and the same for the object."""
_Branch = tuple[int, int, str, bool, int, tuple[str, ...]]
"""A triple as its variable sees it: rank, number, relation, whether the variable is the subject, and the far end as in `_Compiled`."""


class _Search:
    """A query with numbers for its variables; 0 is the target."""

    def __init__(self, query: Query, graph: Graph) -> None:
        self.graph = graph
        numbers: dict[Term, int] = {query.target: 0}
        for triple in query.triples:
            for term in (triple.subject, triple.object):
                if isinstance(term, Variable):
                    numbers.setdefault(term, len(numbers))
        for condition in query.conditions:
            numbers.setdefault(condition.variable, len(numbers))
        self.variables: list[Variable] = list(numbers)  # type: ignore[arg-type]  # every term in it is a variable
        self.conditions: list[list[Condition]] = [[] for _ in numbers]
        for condition in query.conditions:
            self.conditions[numbers[condition.variable]].append(condition)
        self.triples: list[_Compiled] = [
            (numbers.get(subject, -1), _constants(subject), relation, numbers.get(object, -1), _constants(object))
            for subject, relation, object in query.triples
        ]

    def holds(self, variable: int, value: str) -> bool:
        """Whether a value meets the conditions of a variable."""
        conditions = self.conditions[variable]
        return not conditions or all(_holds(condition, value, self.graph) for condition in conditions)

    def guess(self, rest: list[_Compiled]) -> tuple[int, Sequence[str]]:
        """A variable of the triples, whose ends are all unbound, with few candidates by its conditions or relations."""
        options: list[tuple[int, Sequence[str]]] = []
        for subject, _, relation, object, _ in rest:
            options.append((subject, self.graph.having(relation)))
            for condition in self.conditions[object]:
                if isinstance(condition, Between):
                    options.append((subject, self.graph.between(relation, condition.low, condition.high)))
        for variable in {end for triple in rest for end in (triple[0], triple[3])} or {0}:
            conditions = self.conditions[variable]
            if kind := next((condition.type for condition in conditions if isinstance(condition, OfType)), ""):
                letter = next((condition.letter for condition in conditions if isinstance(condition, Initial)), "")
                options.append((variable, self.graph.of_type(kind, letter)))
        return min(options, key=lambda option: len(option[1])) if options else (0, self.graph.entities)


class _Tree(_Search):
    """A query without cycles, read so that two variables may be one entity."""

    def __init__(self, query: Query, graph: Graph, limit: int) -> None:
        super().__init__(query, graph)
        self.limit = limit
        self.known: dict[tuple[int, str, tuple[int, ...]], int] = {}
        self.near: list[list[_Branch]] = [[] for _ in self.variables]
        for index, (subject, subjects, relation, object, objects) in enumerate(self.triples):
            # What is checked comes first, then the steps from subject to object, which lead to few.
            if subject >= 0:
                self.near[subject].append((object >= 0, index, relation, True, object, objects))
            if object >= 0:
                self.near[object].append((2 * (subject >= 0), index, relation, False, subject, subjects))
        self.up: list[_Branch] = [(0, -1, "", True, -1, ())] * len(self.near)
        """By variable, the triple towards the target."""
        self.sound = self._hangs_together()

    def _hangs_together(self) -> bool:
        """Whether it is a tree; fills `up`."""
        reached = [0]
        for variable in reached:
            self.near[variable].sort()
            for _, index, relation, forwards, end, _ in self.near[variable]:
                if end >= 0 and index != self.up[variable][1]:
                    if end in reached:
                        return False
                    self.up[end] = (0, index, relation, not forwards, variable, ())
                    reached.append(end)
        return len(reached) == len(self.near) and all(subject >= 0 or object >= 0 for subject, _, _, object, _ in self.triples)

    def values(self) -> Iterator[str]:
        """Values of the target, each once: from where there are fewest candidates towards it."""
        start, came, candidates = self._start()
        seen: set[tuple[int, str]] = set()
        for candidate in candidates:
            waiting = [(start, came, candidate)]
            while waiting:
                variable, came, value = waiting.pop()
                _, up, relation, forwards, end, _ = self.up[variable]
                if (variable, value) in seen or not self.ways(variable, value, (came, up)):
                    continue
                seen.add((variable, value))
                if variable == 0:
                    yield value
                    continue
                waiting += [(end, up, one) for one in self._across(value, relation, forwards)]

    def all_ways(self) -> int:
        """In how many ways the query can be satisfied; exact below the limit."""
        start, _, candidates = self._start()
        found = 0
        for value in candidates:
            found += self.ways(start, value, ())
            if found >= self.limit:
                break
        return found

    def ways(self, variable: int, value: str, skipped: tuple[int, ...]) -> int:
        """In how many ways all that hangs on a variable, but for some triples, can be satisfied if it stands for a value.

        Exact below the limit, from there on at least the limit.
        """
        key = variable, value, skipped
        if key in self.known:
            return self.known[key]
        found = int(self.holds(variable, value))
        for _, index, relation, forwards, end, constants in self.near[variable] if found else ():
            if index in skipped:
                continue
            if end < 0:
                found *= self._is(value, relation, forwards, constants)
            else:
                below = 0
                for other in self._across(value, relation, forwards):
                    below += self.ways(end, other, (index,))
                    if below >= self.limit:
                        break
                found *= below
            if not found:
                break
        self.known[key] = found
        return found

    def _across(self, value: str, relation: str, forwards: bool) -> Sequence[str]:
        return self.graph.objects(value, relation) if forwards else self.graph.subjects(relation, value)

    def _is(self, value: str, relation: str, forwards: bool, constants: tuple[str, ...]) -> bool:
        """Whether a value has a relation to one of some constants, or one of them to it."""
        if forwards:
            found = self.graph.objects(value, relation)
            return any(one in found for one in constants)
        return any(value in self.graph.objects(one, relation) for one in constants)

    def _start(self) -> tuple[int, int, Sequence[str]]:
        """A variable with few candidates, the triple that they are from (-1: none), and the candidates."""
        best: tuple[int, int, Sequence[str]] | None = None
        for index, (subject, subjects, relation, object, objects) in enumerate(self.triples):
            if subject < 0:
                found = object, index, _merged([self.graph.objects(one, relation) for one in subjects])
            elif object < 0:
                found = subject, index, _merged([self.graph.subjects(relation, one) for one in objects])
            else:
                continue
            if best is None or len(found[2]) < len(best[2]):
                best = found
        if best is not None and len(best[2]) <= _FEW:
            return best
        variable, candidates = self.guess([triple for triple in self.triples if triple[0] >= 0 and triple[3] >= 0])
        return best if best is not None and len(best[2]) <= len(candidates) else (variable, -1, candidates)


class _Join(_Search):
    """One search by backtracking; `bound` has for each variable a tuple of its one value, or None."""

    def __init__(self, query: Query, graph: Graph, distinct: bool) -> None:
        super().__init__(query, graph)
        self.distinct = distinct
        self.found: dict[str, list[tuple[str, ...] | None]] = {}

    def ways(self, bound: list[tuple[str, ...] | None], rest: list[_Compiled]) -> Iterator[list[tuple[str, ...] | None]]:
        """All ways to satisfy the remaining triples, but none for a target value that the caller has added to `found`."""
        forced: list[int] = []
        candidates: Sequence[str] = ()
        while rest or bound[0] is None:
            if bound[0] is not None and bound[0][0] in self.found:
                candidates = ()
                break
            index, variable, candidates = self._next(bound, rest)
            others = rest if index < 0 else rest[:index] + rest[index + 1 :]
            if len(candidates) != 1:
                break
            if variable >= 0:
                if not self._fits(variable, candidates[0], bound):
                    candidates = ()
                    break
                bound[variable] = (candidates[0],)
                forced.append(variable)
            rest = others
        else:
            yield bound
            candidates = ()
        # A check has one candidate or none, so there is a variable to bind.
        for value in candidates:
            if bound[0] is not None and bound[0][0] in self.found:
                break
            if self._fits(variable, value, bound):
                bound[variable] = (value,)
                yield from self.ways(bound, others)
                bound[variable] = None
        for variable in forced:
            bound[variable] = None

    def _next(self, bound: list[tuple[str, ...] | None], rest: list[_Compiled]) -> tuple[int, int, Sequence[str]]:
        """The triple to satisfy next (-1: a guess), the variable that it binds (-1: a check), and the values to try."""
        best: tuple[int, int, Sequence[str]] | None = None
        for index, (subject, subjects, relation, object, objects) in enumerate(rest):
            known = subjects if subject < 0 else bound[subject]
            held = objects if object < 0 else bound[object]
            if known is not None:
                found = _merged([self.graph.objects(one, relation) for one in known])
                return (index, object, found) if held is None else (index, -1, [one for one in held if one in found][:1])
            if held is not None and (best is None or len(best[2]) > 1):
                found = _merged([self.graph.subjects(relation, one) for one in held])
                if best is None or len(found) < len(best[2]):
                    best = index, subject, found
        if best is not None and len(best[2]) <= _FEW:
            return best
        guess = self.guess([triple for triple in rest if triple[3] >= 0 and bound[triple[3]] is None])
        return best if best is not None and len(best[2]) <= len(guess[1]) else (-1, *guess)

    def _fits(self, variable: int, value: str, bound: list[tuple[str, ...] | None]) -> bool:
        if self.distinct and not is_literal(value) and (value,) in bound:
            return False
        return self.holds(variable, value)


def _constants(term: Term) -> tuple[str, ...]:
    return () if isinstance(term, Variable) else term.constants if isinstance(term, OneOf) else (term,)


def _merged(parts: list[Sequence[str]]) -> Sequence[str]:
    return parts[0] if len(parts) == 1 else list(dict.fromkeys(value for part in parts for value in part))


def _holds(condition: Condition, value: str, graph: Graph) -> bool:
    if isinstance(condition, OfType):
        return graph.type(value) == condition.type
    if isinstance(condition, Initial):
        return graph.name(value).casefold().startswith(condition.letter.casefold())
    return is_literal(value) and condition.low <= number(value) <= condition.high


def _winners(query: Query, graph: Graph, distinct: bool) -> list[str]:
    if query.parts:
        candidates = [value for part in query.parts for value in solve(part, graph, distinct=distinct)]
    else:
        candidates = solve(Query(query.target, query.triples, query.conditions), graph, distinct=distinct)
    values = {}
    for candidate in candidates:
        found = graph.objects(candidate, query.attribute)
        if len(found) != 1:
            return []
        values[candidate] = number(found[0])
    if len(values) < 2:
        return []
    best = min(values.values()) if query.smaller else max(values.values())
    return [candidate for candidate, value in values.items() if value == best]
