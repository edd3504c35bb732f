"""The formal question, and its exact answer on a graph.

A query is a target variable and a set of triples over variables and constants: WebShaper's knowledge projections (arXiv 2507.15061) written
out flat. A constant that is a set is their R-Union, `R(S1 | S2) = R(S1) | R(S2)`. Conditions on a variable (its type, the initial of its
name, the range of a number) are what is left of a constant that was obfuscated.

Two variables never stand for the same entity; a variable may stand for a constant of the query, and two numbers may be equal. Number values
are texts with a leading `=` (`statements.literal`).

`solve` is a backtracking join: always the triple with the fewest candidates next, and nothing is looked for again once a target value has
its witness. Its time is that of the neighbourhood of the constants; a query without any starts at its most selective condition.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, get_args

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
    "dump_query",
    "load_query",
    "solve",
    "unique",
    "witnesses",
]

Operation = Literal["find", "count", "list", "compare", "compose"]


@dataclass(frozen=True, slots=True)
class Variable:
    """Something that is not named."""

    name: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """Any one of several constants (R-Union)."""

    constants: tuple[str, ...]


Term = str | Variable | OneOf
"""A constant is the id of an entity, or a number."""


@dataclass(frozen=True, slots=True)
class Triple:
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
    if query.operation == "compare" or isinstance(query.target, OneOf):
        return len(solve(query, graph, 2, distinct=False)) == 1 == len(solve(query, graph, 2))
    loose = witnesses(query, graph, 2, distinct=False)
    if len(loose) != 1:
        return False
    entities = [value for value in loose[0].values() if not is_literal(value)]
    # The witness may let two variables be one entity where another one does not.
    return len(set(entities)) == len(entities) or len(witnesses(query, graph, 1)) == 1


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


class _Join:
    """One search. Variables are numbers, 0 is the target; `bound` has for each a tuple of its one value, or None."""

    def __init__(self, query: Query, graph: Graph, distinct: bool) -> None:
        self.graph, self.distinct = graph, distinct
        numbers: dict[Term, int] = {query.target: 0}
        ends = (term for triple in query.triples for term in (triple.subject, triple.object) if isinstance(term, Variable))
        for term in (*ends, *(condition.variable for condition in query.conditions)):
            numbers.setdefault(term, len(numbers))
        self.variables: list[Variable] = list(numbers)  # type: ignore[arg-type]  # every term in it is a variable
        self.conditions: list[list[Condition]] = [[] for _ in numbers]
        for condition in query.conditions:
            self.conditions[numbers[condition.variable]].append(condition)
        self.triples: list[_Compiled] = [
            (numbers.get(t.subject, -1), _constants(t.subject), t.relation, numbers.get(t.object, -1), _constants(t.object))
            for t in query.triples
        ]
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
        guess = self._guess([triple for triple in rest if triple[3] >= 0 and bound[triple[3]] is None])
        return best if best is not None and len(best[2]) <= len(guess[1]) else (-1, *guess)

    def _guess(self, rest: list[_Compiled]) -> tuple[int, Sequence[str]]:
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

    def _fits(self, variable: int, value: str, bound: list[tuple[str, ...] | None]) -> bool:
        if self.distinct and not is_literal(value) and (value,) in bound:
            return False
        return all(_holds(condition, value, self.graph) for condition in self.conditions[variable])


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


def dump_query(query: Query) -> dict[str, Any]:
    """The query as plain JSON values, with WebShaper's prefixes `V@` for variables and `C@` for constants. Defaults are left out."""
    values: dict[str, Any] = {"target": _dump_term(query.target)}
    if query.triples:
        values["triples"] = [[_dump_term(triple.subject), triple.relation, _dump_term(triple.object)] for triple in query.triples]
    if query.conditions:
        values["conditions"] = [_dump_condition(condition) for condition in query.conditions]
    if query.operation != "find":
        values["operation"] = query.operation
    if query.attribute:
        values |= {"attribute": query.attribute, "smaller": query.smaller}
    if query.parts:
        values["parts"] = [dump_query(part) for part in query.parts]
    return values


def load_query(values: dict[str, Any]) -> Query:
    """What `dump_query` wrote.

    Raises:
        InputError: the values are no query.
    """
    try:
        target = _load_term(values["target"])
        operation = values.get("operation", "find")
        if isinstance(target, str) or operation not in get_args(Operation):
            raise ValueError(f"target {target!r}, operation {operation!r}")
        return Query(
            target,
            tuple(Triple(_load_term(subject), relation, _load_term(object)) for subject, relation, object in values.get("triples", ())),
            tuple(_load_condition(*condition) for condition in values.get("conditions", ())),
            operation,
            values.get("attribute", ""),
            values.get("smaller", False),
            tuple(load_query(part) for part in values.get("parts", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"not a query ({type(error).__name__}: {error}); it is written by dump_query") from None


def _dump_term(term: Term) -> str | list[str]:
    if isinstance(term, Variable):
        return f"V@{term.name}"
    return f"C@{term}" if isinstance(term, str) else [f"C@{constant}" for constant in term.constants]


def _load_term(value: str | list[str]) -> Term:
    if isinstance(value, list):
        return OneOf(tuple(one.removeprefix("C@") for one in value))
    if value.startswith("V@"):
        return Variable(value[2:])
    if value.startswith("C@"):
        return value[2:]
    raise ValueError(f"term '{value}' begins neither with V@ nor with C@")


def _dump_condition(condition: Condition) -> list[str | int]:
    name = f"V@{condition.variable.name}"
    if isinstance(condition, OfType):
        return [name, "type", condition.type]
    if isinstance(condition, Initial):
        return [name, "initial", condition.letter]
    return [name, "between", condition.low, condition.high]


def _load_condition(name: str, kind: str, *values: Any) -> Condition:
    variable = Variable(name.removeprefix("V@"))
    if kind == "type":
        return OfType(variable, *values)
    if kind == "initial":
        return Initial(variable, *values)
    if kind == "between":
        return Between(variable, *values)
    raise ValueError(f"condition '{kind}' is none of type, initial, between")
