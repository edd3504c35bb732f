"""A query as plain JSON values, with WebShaper's prefixes `V@` for variables and `C@` for constants (arXiv 2507.15061)."""

from typing import Any, get_args

from spadework.core.errors import InputError
from spadework.synthesis.query import Between, Condition, Initial, OfType, OneOf, Operation, Query, Term, Triple, Variable

__all__ = ["dump_query", "load_query"]


def dump_query(query: Query) -> dict[str, Any]:
    """The query as JSON values. Defaults are left out."""
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
