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
    "dump_query",
    "load_query",
    "solve",
    "unique",
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
    """The name of the variable begins with a letter."""

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
    join = _Join(query, graph, distinct)
    for value in join.values({}, list(query.triples)):
        if value not in join.found:
            join.found[value] = None
            if limit is not None and len(join.found) >= limit:
                break
    return list(join.found)


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
    return len(solve(query, graph, 2, distinct=False)) == 1 == len(solve(query, graph, 2))


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


class _Join:
    """One search: the conditions by variable, and the target values that have been found, in order."""

    def __init__(self, query: Query, graph: Graph, distinct: bool) -> None:
        assert isinstance(query.target, Variable)
        self.graph, self.distinct, self.target = graph, distinct, query.target
        self.conditions: dict[Variable, list[Condition]] = {}
        for condition in query.conditions:
            self.conditions.setdefault(condition.variable, []).append(condition)
        self.found: dict[str, None] = {}

    def values(self, bound: dict[Variable, str], rest: list[Triple]) -> Iterator[str]:
        """Target values of all ways to satisfy the remaining triples; repeats what a caller does not add to `found`."""
        if not rest and self.target in bound:
            yield bound[self.target]
            return
        index, candidates = self._next(bound, rest)
        others = rest if index is None else rest[:index] + rest[index + 1 :]
        for binding in candidates:
            if bound.get(self.target) in self.found:
                return
            if self._fits(binding, bound):
                for variable, value in binding:
                    bound[variable] = value
                yield from self.values(bound, others)
                for variable, _ in binding:
                    del bound[variable]

    def _next(self, bound: dict[Variable, str], rest: list[Triple]) -> tuple[int | None, list[list[tuple[Variable, str]]]]:
        """The triple to satisfy next, and each way to do so as what it binds; no triple where a variable is guessed first."""
        best: tuple[int, Variable | None, Sequence[str]] | None = None
        for index, triple in enumerate(rest):
            subject, object = (bound.get(term, term) if isinstance(term, Variable) else term for term in (triple.subject, triple.object))
            if not isinstance(subject, Variable):
                found = [value for one in _constants(subject) for value in self.graph.objects(one, triple.relation)]
                if not isinstance(object, Variable):
                    return index, [[]] if any(one in found for one in _constants(object)) else []
                return index, [[(object, value)] for value in dict.fromkeys(found)]
            if not isinstance(object, Variable):
                subjects = [self.graph.subjects(triple.relation, one) for one in _constants(object)]
                merged = subjects[0] if len(subjects) == 1 else list(dict.fromkeys(value for part in subjects for value in part))
                if best is None or len(merged) < len(best[2]):
                    best = index, subject, merged
        if best is not None:
            index, variable, values = best
            assert variable is not None
            return index, [[(variable, value)] for value in values]
        variable, values = self._start(rest)
        return None, [[(variable, value)] for value in values]

    def _start(self, rest: list[Triple]) -> tuple[Variable, Sequence[str]]:
        """The unbound variable with the fewest candidates by its conditions."""
        options: list[tuple[Variable, Sequence[str]]] = []
        for triple in rest:
            assert isinstance(triple.subject, Variable) and isinstance(triple.object, Variable)
            for condition in self.conditions.get(triple.object, ()):
                if isinstance(condition, Between):
                    options.append((triple.subject, self.graph.between(triple.relation, condition.low, condition.high)))
        for variable, conditions in self.conditions.items():
            if kind := next((condition.type for condition in conditions if isinstance(condition, OfType)), ""):
                letter = next((condition.letter for condition in conditions if isinstance(condition, Initial)), "")
                if variable == self.target or any(variable in (triple.subject, triple.object) for triple in rest):
                    options.append((variable, self.graph.of_type(kind, letter)))
        if options:
            return min(options, key=lambda option: len(option[1]))
        subject = rest[0].subject if rest else self.target
        assert isinstance(subject, Variable)
        return subject, self.graph.entities

    def _fits(self, binding: list[tuple[Variable, str]], bound: dict[Variable, str]) -> bool:
        for variable, value in binding:
            if self.distinct and not is_literal(value) and value in bound.values():
                return False
            if variable in self.conditions and not all(_holds(condition, value, self.graph) for condition in self.conditions[variable]):
                return False
        return True


def _constants(term: str | OneOf) -> tuple[str, ...]:
    return term.constants if isinstance(term, OneOf) else (term,)


def _holds(condition: Condition, value: str, graph: Graph) -> bool:
    if isinstance(condition, OfType):
        return graph.type(value) == condition.type
    if isinstance(condition, Initial):
        return graph.name(value)[:1].casefold() == condition.letter.casefold()
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
