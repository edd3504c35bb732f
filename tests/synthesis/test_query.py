import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spadework.core.errors import InputError
from spadework.synthesis.query import (
    Between,
    Condition,
    Initial,
    OfType,
    OneOf,
    Query,
    Term,
    Triple,
    Variable,
    answer,
    answer_items,
    derivations,
    solve,
    unique,
    witnesses,
)
from spadework.synthesis.query_json import dump_query, load_query
from spadework.synthesis.statements import LedgerGraph, Statement

X, Y, Z, N = (Variable(name) for name in ("v0", "v1", "v2", "v3"))
NAMES = {"a": ("Ada", "Lady A"), "b": ("Bo",), "c": ("Cy",), "p": ("Pax",), "q": ("Qum",)}
TYPES = {"a": "person", "b": "person", "c": "person", "p": "city", "q": "city"}
EDGES = [("a", "born", "p"), ("b", "born", "p"), ("c", "born", "q"), ("a", "knows", "c"), ("b", "knows", "c"), ("c", "knows", "b")]
EDGES += [("a", "age", "=30"), ("b", "age", "=40"), ("c", "age", "=40"), ("p", "mayor", "c"), ("q", "mayor", "a")]


def graph(edges: list[tuple[str, str, str]] = EDGES) -> LedgerGraph:
    return LedgerGraph([Statement(*edge, edge[0]) for edge in edges], NAMES, TYPES)


@pytest.mark.parametrize(
    ("triples", "conditions", "values"),
    [
        ([(X, "born", "p")], [], ["a", "b"]),
        ([(X, "born", Y), (Y, "mayor", "c")], [], ["a", "b"]),
        # b and c know each other, and Y is not X: only a knows somebody who knows b.
        ([(X, "knows", Y), (Y, "knows", "b")], [], ["a", "b"]),
        ([(X, "knows", Y), (Y, "knows", Z), (Z, "born", "p")], [], ["a"]),
        ([("p", "mayor", X)], [], ["c"]),
        ([(X, "born", OneOf(("p", "q")))], [], ["a", "b", "c"]),
        ([(OneOf(("p", "q")), "mayor", X)], [], ["c", "a"]),
        ([(X, "age", N)], [Between(N, 35, 45)], ["b", "c"]),
        ([(X, "age", N), (X, "born", "p")], [Between(N, 35, 45)], ["b"]),
        ([(X, "age", "=40"), (X, "knows", "b")], [], ["c"]),
        ([(X, "mayor", Y)], [Initial(Y, "c")], ["p"]),
        ([(Y, "mayor", X)], [OfType(Y, "city"), Initial(Y, "Q")], ["a"]),
        ([], [OfType(X, "city")], ["p", "q"]),
        ([(X, "born", "nowhere")], [], []),
    ],
)
def test_queries_by_hand(triples: list[tuple[Term, str, Term]], conditions: list[Condition], values: list[str]) -> None:
    query = Query(X, tuple(Triple(*triple) for triple in triples), tuple(conditions))
    assert sorted(solve(query, graph())) == sorted(values)
    assert solve(query, graph(), 1) == solve(query, graph())[:1]


def test_two_variables_are_two_entities_unless_the_reader_is_loose() -> None:
    # Who knows somebody who knows somebody: b knows c knows b, where the third would be the first again.
    query = Query(X, (Triple(X, "knows", Y), Triple(Y, "knows", Z)))
    assert solve(query, graph()) == ["a"]
    assert sorted(solve(query, graph(), distinct=False)) == ["a", "b", "c"]
    assert not unique(query, graph())


def test_numbers_may_be_equal() -> None:
    query = Query(X, (Triple(X, "age", N), Triple(X, "knows", Y), Triple(Y, "age", Z)), (Between(N, 40, 40), Between(Z, 40, 40)))
    assert sorted(solve(query, graph())) == ["b", "c"]


def test_a_witness_says_what_every_variable_stands_for() -> None:
    query = Query(X, (Triple(X, "born", Y), Triple(Y, "mayor", Z), Triple(X, "age", N)), (Between(N, 0, 35),))
    assert witnesses(query, graph()) == [{X: "a", Y: "p", Z: "c", N: "=30"}]


def test_answers_of_every_operation() -> None:
    # Born in p: a (30) and b (40). Born in q: c (40).
    born = (Triple(X, "born", "p"),)
    g = graph()
    assert answer(Query(X, (*born, Triple(X, "age", "=30"))), g) == ("Ada", "Lady A")
    assert answer(Query(X, born, operation="count"), g) == ("2",)
    assert answer(Query(X, born, operation="list"), g) == ("Ada; Bo",)
    assert answer_items(Query(X, born, operation="list"), g) == [["Ada", "Lady A"], ["Bo"]]
    assert answer(Query(X, born, operation="compare", attribute="age", smaller=True), g) == ("Ada", "Lady A")
    assert answer(Query(X, born, operation="compare", attribute="age"), g) == ("Bo",)
    pair = (Query(X, (Triple("q", "mayor", X),)), Query(X, (Triple("p", "mayor", X),)))
    assert answer(Query(X, operation="compare", attribute="age", parts=pair), g) == ("Cy",)
    assert answer(Query(OneOf(("a", "b")), operation="compare", attribute="age"), g) == ("Bo",)
    composed = Query(X, operation="compose", parts=(pair[0], Query(X, born, operation="count")))
    assert answer(composed, g) == ("Ada; 2",)
    assert answer_items(composed, g) == [["Ada", "Lady A"], ["2"]]
    assert solve(composed, g) == ["a", "a", "b"]
    assert answer(Query(N, (Triple("a", "age", N),)), g) == ("30",)


def test_a_tie_has_no_winner_and_several_answers_are_an_error() -> None:
    tie = Query(X, (Triple(X, "age", "=40"),), operation="compare", attribute="age")
    assert sorted(solve(tie, graph())) == ["b", "c"] and not unique(tie, graph())
    for query, found in ((tie, 2), (Query(X, (Triple(X, "born", "p"),)), 2), (Query(X, (Triple(X, "born", "a"),), operation="count"), 0)):
        with pytest.raises(InputError, match=f"the question has {found} answers on the ledger, not one"):
            answer(query, graph())


def test_who_has_no_such_number_can_not_be_compared() -> None:
    assert solve(Query(OneOf(("a", "p")), operation="compare", attribute="age"), graph()) == []


def test_a_query_is_stored_as_plain_json() -> None:
    query = Query(
        X,
        (Triple(X, "born", OneOf(("p", "q"))), Triple(X, "age", N), Triple("q", "mayor", Y)),
        (Between(N, 1, 9), OfType(X, "person"), Initial(X, "A")),
        parts=(Query(OneOf(("a", "b")), operation="compare", attribute="age", smaller=True),),
    )
    values = json.loads(json.dumps(dump_query(query)))
    assert load_query(values) == query
    assert values["triples"][0] == ["V@v0", "born", ["C@p", "C@q"]]
    assert values["conditions"][0] == ["V@v3", "between", 1, 9]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"target": "C@a"},
        {"target": "a"},
        {"target": "V@v0", "operation": "guess"},
        {"target": "V@v0", "triples": [["V@v0", "born"]]},
        {"target": "V@v0", "conditions": [["V@v0", "colour", "red"]]},
        {"target": "V@v0", "triples": [["V@v0", "born", 3]]},
    ],
)
def test_what_is_no_query_is_refused(values: dict) -> None:
    with pytest.raises(InputError, match="not a query"):
        load_query(values)


# A brute force that shares nothing with the solver: every assignment of all things to all variables is tried.

ENTITIES = ["a", "b", "c", "p", "q"]
THINGS = [*ENTITIES, "=1", "=2"]


def brute_force(query: Query, edges: set[tuple[str, str, str]], distinct: bool) -> list[dict[str, str]]:
    variables = sorted({term.name for triple in query.triples for term in (triple.subject, triple.object) if isinstance(term, Variable)})
    found = []
    for values in itertools.product(THINGS, repeat=len(variables)):
        bound = dict(zip(variables, values, strict=True))
        entities = [value for value in values if value in ENTITIES]
        if distinct and len(set(entities)) < len(entities):
            continue
        ends = {
            term: [bound[term.name]] if isinstance(term, Variable) else list(term.constants) if isinstance(term, OneOf) else [term]
            for triple in query.triples
            for term in (triple.subject, triple.object)
        }
        if not all(
            any((s, triple.relation, o) in edges for s in ends[triple.subject] for o in ends[triple.object]) for triple in query.triples
        ):
            continue
        if all(holds(condition, bound[condition.variable.name]) for condition in query.conditions if condition.variable.name in bound):
            found.append(bound)
    return found


def holds(condition: Condition, value: str) -> bool:
    if isinstance(condition, Between):
        return value in ("=1", "=2") and condition.low <= int(value[1:]) <= condition.high
    if isinstance(condition, OfType):
        return TYPES.get(value) == condition.type
    return value in NAMES and NAMES[value][0].startswith(condition.letter)


VARIABLES = st.sampled_from([X, Y, Z])
CONSTANTS = st.sampled_from(ENTITIES)
TERMS = st.one_of(VARIABLES, VARIABLES, CONSTANTS, st.lists(CONSTANTS, min_size=2, max_size=2, unique=True).map(lambda c: OneOf(tuple(c))))
TRIPLES = st.builds(Triple, TERMS, st.sampled_from(["r", "s"]), st.one_of(TERMS, st.sampled_from(["=1", "=2"])))
CONDITIONS = st.one_of(
    st.builds(OfType, VARIABLES, st.sampled_from(["person", "city"])),
    st.builds(Initial, VARIABLES, st.sampled_from(["A", "B", "P"])),
    st.builds(Between, VARIABLES, st.integers(0, 2), st.integers(1, 3)),
)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    triples = draw(st.lists(TRIPLES, min_size=1, max_size=4))
    terms = {term for triple in triples for term in (triple.subject, triple.object)}
    if X not in terms:
        triples.append(Triple(X, "r", draw(TERMS.filter(lambda term: term != X))))
    triples = [triple for triple in triples if triple.subject != triple.object]
    if not any(X in (triple.subject, triple.object) for triple in triples):
        triples.append(Triple(X, "s", "b"))
    terms = {term for triple in triples for term in (triple.subject, triple.object)}
    conditions = [condition for condition in draw(st.lists(CONDITIONS, max_size=2)) if condition.variable in terms]
    return Query(X, tuple(triples), tuple(conditions))


@settings(max_examples=400)
@given(queries(), st.lists(st.tuples(CONSTANTS, st.sampled_from(["r", "s"]), st.sampled_from(THINGS)), max_size=14), st.booleans())
def test_the_join_finds_what_trying_everything_finds(query: Query, edges: list[tuple[str, str, str]], distinct: bool) -> None:
    g = graph(edges)
    loose_ways = brute_force(query, set(edges), False)
    strict, loose = {way["v0"] for way in brute_force(query, set(edges), True)}, {way["v0"] for way in loose_ways}
    expected = strict if distinct else loose
    assert set(solve(query, g, distinct=distinct)) == expected
    assert len(solve(query, g, 2, distinct=distinct)) == min(2, len(expected))
    assert unique(query, g) == (len(loose) == 1 and strict == loose)
    for limit in (1, 2, 500):
        assert derivations(query, g, limit) == min(limit, len(loose_ways))
    for witness in witnesses(query, g, distinct=distinct):
        for triple in query.triples:
            ends = itertools.product(values(triple.subject, witness), values(triple.object, witness))
            assert any((subject, triple.relation, object) in set(edges) for subject, object in ends)


def values(term: Term, witness: dict[Variable, str]) -> list[str]:
    return [witness[term]] if isinstance(term, Variable) else list(term.constants) if isinstance(term, OneOf) else [term]


@given(queries())
def test_storing_and_loading_changes_nothing(query: Query) -> None:
    assert load_query(json.loads(json.dumps(dump_query(query)))) == query
