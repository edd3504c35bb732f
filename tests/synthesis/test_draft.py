from spadework.synthesis.draft import Draft, branches, clues, constants, fresh, guarded, ledger, pages, places, statements, without
from spadework.synthesis.ledger import Edit
from spadework.synthesis.query import Between, OneOf, Query, Triple, Variable
from spadework.synthesis.statements import LedgerGraph, Statement

X, Y, Z, N = (Variable(f"v{number}") for number in range(4))
# A person born in p, who knows the mayor of q or r, who is 30 to 39.
QUERY = Query(
    X,
    (Triple(X, "born", "p"), Triple(X, "knows", Y), Triple(OneOf(("q", "r")), "mayor", Y), Triple(Y, "age", N), Triple("s", "star", X)),
    (Between(N, 30, 39),),
)
EDGES = [("a", "born", "p"), ("a", "knows", "b"), ("q", "mayor", "b"), ("r", "mayor", "c"), ("b", "age", "=33"), ("s", "star", "a")]
EDGES += [("d", "born", "p"), ("d", "knows", "c"), ("c", "age", "=50"), ("d", "age", "=20"), ("a", "age", "=60")]
GRAPH = LedgerGraph([Statement(*edge, f"page-{edge[0]}") for edge in EDGES], {key: (key.upper(),) for key in "abcdpqrs"}, {"a": "person"})
DRAFT = Draft(QUERY, ({X: "a", Y: "b", N: "=33"},))


def test_what_a_query_is_made_of() -> None:
    assert clues(QUERY) == 6 and clues(Query(X, parts=(QUERY, QUERY))) == 12
    assert constants(QUERY) == {"p", "q", "r", "s"} and constants(Query(OneOf(("a", "b")))) == {"a", "b"}
    assert fresh(QUERY) == Variable("v4")
    assert places(QUERY) == [0, 4] and places(QUERY, numbers=True) == []
    assert places(Query(X, (Triple(X, "age", "=3"),)), numbers=True) == [0] and places(Query(X, (Triple(X, "age", "=3"),))) == []
    assert list(branches(QUERY)) == [(0, "p", True), (1, Y, True), (4, "s", False)]
    assert list(branches(QUERY, Y, frozenset({1}))) == [(2, OneOf(("q", "r")), False), (3, N, True)]


def test_a_branch_goes_as_a_whole() -> None:
    assert without(QUERY, 1) == Query(X, (QUERY.triples[0], QUERY.triples[4]))
    assert without(QUERY, 2) == Query(X, (*QUERY.triples[:2], *QUERY.triples[3:]), QUERY.conditions)
    assert without(Query(X, (QUERY.triples[0],)), 0) == Query(X)


def test_a_target_without_constants_beside_it_is_guarded() -> None:
    assert not guarded(QUERY) and not guarded(Query(X))
    assert guarded(Query(X, (Triple(X, "knows", Y), Triple(Y, "born", "p"))))
    assert not guarded(Query(X, (Triple(X, "knows", Y), Triple(X, "born", OneOf(("p", "q"))))))


def test_statements_are_in_solving_order() -> None:
    assert [edge[:3] for edge in statements(DRAFT, GRAPH)] == [
        ("a", "born", "p"),
        ("q", "mayor", "b"),
        ("b", "age", "=33"),
        ("a", "knows", "b"),
        ("s", "star", "a"),
    ]
    assert pages(DRAFT, GRAPH) == {"page-a", "page-q", "page-b", "page-s"}


def test_a_count_rests_on_every_member_and_a_comparison_on_their_numbers() -> None:
    query = Query(X, (Triple(X, "born", "p"),), operation="compare", attribute="age")
    gathered = Draft(query, ({X: "a"}, {X: "d"}))
    assert [edge[:3] for edge in statements(gathered, GRAPH)] == [
        ("a", "born", "p"),
        ("d", "born", "p"),
        ("a", "age", "=60"),
        ("d", "age", "=20"),
    ]


def test_the_ledger_of_a_draft() -> None:
    drafted = DRAFT.edited("walk", "4 edges", QUERY, DRAFT.witnesses)
    kept = ledger(drafted, GRAPH)
    assert kept.query == QUERY and kept.documents == ("page-a", "page-q", "page-b", "page-s")
    assert kept.edits == (Edit("walk", "4 edges", 6, 6, 0),)
    # Every entity that is named or meant, also the constant that holds of nobody.
    assert kept.names == {key: (key.upper(),) for key in "abpqrs"} and kept.types == {"a": "person"}
