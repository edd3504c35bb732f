import re
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from random import Random

import pytest

from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.draft import Draft, constants
from spadework.synthesis.operators import compare, compose, count, list_all, obfuscate, walk
from spadework.synthesis.query import Between, Initial, OfType, OneOf, Query, Triple, Variable
from spadework.synthesis.statements import LedgerGraph, Statement, WorldGraph, is_literal
from spadework.synthesis.wording import LIST_INSTRUCTION, tells, word

X, Y, Z, N = (Variable(f"v{number}") for number in range(4))
TYPES = {"ada": "person", "bo": "person", "tome": "book", "inn": "company", "pax": "city", "rill": "river"}
NAMES = {
    "ada": ("Ada Moon", "Lady Moon"),
    "bo": ("Bo Sand",),
    "tome": ("Big Tome",),
    "inn": ("Old Inn",),
    "pax": ("Pax Vale",),
    "rill": ("Cold Rill",),
}


class Exact(LedgerGraph):
    exact = True


GRAPH = Exact([Statement(key, "x", key, key) for key in NAMES], NAMES, TYPES)


def find(*triples: tuple, conditions: Iterable = (), operation: str = "find", attribute: str = "", **bound: str) -> Draft:
    query = Query(X, tuple(Triple(*triple) for triple in triples), tuple(conditions), operation, attribute)  # type: ignore[arg-type]
    return Draft(query, ({Variable(name): value for name, value in bound.items()},))


def wordings(draft: Draft, n: int = 300) -> set[str]:
    return {text for seed in range(n) if (text := word(draft, GRAPH, Random(seed)))}


def test_one_triple_is_asked_in_many_ways() -> None:
    asked = wordings(find((X, "birthplace", "pax"), v0="ada"))
    assert {
        "Which person was born in Pax Vale?",
        "Which person comes from Pax Vale?",
        "What is the name of the person who was born in Pax Vale?",
        "Name the person whose birthplace is Pax Vale.",
        "There is a person whose birthplace is Pax Vale. What is the name of this person?",
        "I am looking for a person who comes from Pax Vale. Which person is it?",
        "Which person is X? X was born in Pax Vale.",
        "The birthplace of X is Pax Vale. Which person is X?",
        "Find out which person X is: X comes from Pax Vale.",
    } <= asked
    assert "Which person birthplace is Pax Vale?" not in asked


def test_a_chain_nests_to_the_right() -> None:
    asked = wordings(find((X, "author", Y), (Y, "employer", Z), (Z, "headquarters", "pax"), v0="tome", v1="bo", v2="inn"))
    assert "Which book was written by a person who works for a company that is based in Pax Vale?" in asked
    assert "Name the book whose author is a person whose employer is a company that has its offices in Pax Vale." in asked
    assert any(text.startswith("Which book is X? The author of X is the person Y. Y works for the company Z.") for text in asked)
    # Only what stands last brings clauses of its own.
    assert not any(re.search(r"that a person who|whom a company that", text) for text in asked)


def test_a_constant_subject() -> None:
    asked = wordings(find(("tome", "author", X), v0="ada"))
    assert {"Which person wrote Big Tome?", "Which person is the author of Big Tome?"} <= asked
    assert "Find out which person X is: Big Tome was written by X." in asked
    nested = wordings(find((X, "spouse", Y), ("tome", "author", Y), v0="bo", v1="ada"))
    assert "Which person is married to the author of Big Tome?" in nested


def test_clauses_with_clauses_come_last() -> None:
    draft = find((X, "author", Y), (X, "publisher", "inn"), (Y, "birthplace", "pax"), v0="tome", v1="ada")
    nested = {text for text in wordings(draft) if " X" not in text}
    assert "Which book came out with Old Inn and was written by a person who comes from Pax Vale?" not in nested, "the relative is repeated"
    assert "Which book came out with Old Inn and that was written by a person who comes from Pax Vale?" in nested
    assert all(text.index("Old Inn") < text.index("Pax Vale") for text in nested)


def test_two_branches_with_clauses_are_told_flat() -> None:
    draft = find((X, "author", Y), (Y, "birthplace", "pax"), (X, "publisher", Z), (Z, "founder", "bo"), v0="tome", v1="ada", v2="inn")
    assert all(" X" in text or text.startswith("X") for text in wordings(draft))
    vague = find(
        (X, "author", Y),
        (X, "publisher", Z),
        (Z, "founder", "bo"),
        conditions=[OfType(Y, "person"), Initial(Y, "A")],
        v0="tome",
        v1="ada",
        v2="inn",
    )
    assert all("The name of Y begins with A." in text or "The name of Z begins with A." in text for text in wordings(vague))


def test_vague_constants() -> None:
    vague = find((X, "author", Y), conditions=[OfType(Y, "person"), Initial(Y, "A")], v0="tome", v1="ada")
    assert "Which book was written by a person whose name begins with A?" in wordings(vague)
    decade = find((X, "author", Y), (Y, "born", N), conditions=[Between(N, 1910, 1913)], v0="tome", v1="ada", v3="=1911")
    assert "Which book was written by a person who was born in the early 1910s?" in wordings(decade)
    years = find((X, "author", Y), (Y, "born", N), conditions=[Between(N, 1910, 1912)], v0="tome", v1="ada", v3="=1911")
    assert "Which book was written by a person who was born between 1910 and 1912?" in wordings(years)
    people = find((X, "birthplace", Y), (Y, "population", N), conditions=[Between(N, 300, 400)], v0="ada", v1="pax", v3="=333")
    assert "Which person comes from a city that has a population of between 300 and 400?" in wordings(people)
    assert "Which person was born in Pax Vale or Cold Rill?" in wordings(find((X, "birthplace", OneOf(("pax", "rill"))), v0="ada"))


def test_a_number_is_asked_for() -> None:
    asked = wordings(find((Y, "born", X), ("tome", "author", Y), v0="=1911", v1="ada"))
    assert {"What is the year of birth of the author of Big Tome?", "What is the year of birth of a person who wrote Big Tome?"} <= asked
    assert any("X is the year of birth of the person Y." in text for text in asked)


def test_how_many_and_which_of_all() -> None:
    def asked(operation: str, attribute: str = "") -> set[str]:
        return wordings(find((X, "birthplace", "pax"), operation=operation, attribute=attribute, v0="ada"))

    assert {"How many persons were born in Pax Vale?", "How many persons are there whose birthplace is Pax Vale?"} <= asked("count")
    assert "Let X be a person for which all of this is true: X comes from Pax Vale. How many persons can X be?" in asked("count")
    assert f"Which persons come from Pax Vale? {LIST_INSTRUCTION}" in asked("list") and all(
        t.endswith(LIST_INSTRUCTION) for t in asked("list")
    )
    assert "Of all persons who were born in Pax Vale, which one was born earliest?" in asked("compare", "born")


def test_which_of_two() -> None:
    parts = (find((X, "birthplace", "pax"), v0="ada"), find(("tome", "author", X), v0="bo"))
    query = Query(X, operation="compare", attribute="born", smaller=True, parts=tuple(part.query for part in parts))
    assert "Which person was born earlier: the one who comes from Pax Vale or the one who wrote Big Tome?" in wordings(
        Draft(query, (), (), parts)
    )


def test_several_questions_in_one() -> None:
    parts = (find((X, "birthplace", "pax"), v0="ada"), find(("tome", "author", X), operation="count", v0="bo"))
    query = Query(X, operation="compose", parts=tuple(part.query for part in parts))
    asked = wordings(Draft(query, (), (), parts))
    expected = "(1) Which person was born in Pax Vale? (2) How many persons wrote Big Tome?"
    assert f"Answer these 2 questions in this order. {LIST_INSTRUCTION} {expected}" in asked


def test_a_question_that_names_its_answer_is_not_asked() -> None:
    named = Exact(GRAPH.statements, {**NAMES, "tome": ("The Life of Lady Moon",)}, TYPES)
    draft = find(("tome", "author", X), v0="ada")
    assert word(draft, GRAPH, Random(0)) is not None and word(draft, named, Random(0)) is None
    inner = find((X, "spouse", Y), ("tome", "author", Y), v0="bo", v1="ada")
    assert word(inner, named, Random(0)) is None


def test_sentences_of_pages() -> None:
    graph = LedgerGraph(GRAPH.statements, NAMES, {})
    draft = find((X, "{s} wrote about {o} once.", Y), ("pax", "A town of {o}, they say.", Y), v0="bo", v1="rill")
    asked = {text for seed in range(99) if (text := word(draft, graph, Random(seed)))}
    told = "(1) X wrote about Y once. (2) About Pax Vale: A town of Y, they say."
    assert asked == {
        f"Which thing or person is X? {told}",
        f"{told} Which thing or person is X?",
        f"Find out which thing or person X is: {told}",
    }
    # On pages one telling word is too much.
    assert word(find(("pax", "{s} is where the Sands met {o}.", X), v0="bo"), graph, Random(0)) is None
    assert word(find((X, "{s} met {o}.", "pax"), operation="count", v0="bo"), graph, Random(0)) is None


@pytest.mark.parametrize(
    ("question", "name", "told"),
    [
        ("Who met Conner there?", "Van Conner", True),
        ("Which van stood there?", "Van Conner", False),
        ("Is altruism a term for X?", "Altruism", True),
        ("Which film did X direct?", "Tish (film)", False),
        ("Which film noir did X direct?", "Film noir", True),
    ],
)
def test_what_tells_the_name_of_a_page(question: str, name: str, told: bool) -> None:
    assert tells(question, [name], exact=False) == (name if told else "")


def test_of_the_answer_one_word_in_any_case_is_too_much() -> None:
    graph = LedgerGraph(GRAPH.statements, {**NAMES, "bo": ("Index Magazine",)}, {})
    assert word(find(("pax", "{o} met the index of {s} once.", X), v0="bo"), graph, Random(0)) is None


@cache
def world_graph() -> WorldGraph:
    return WorldGraph(build_world(WorldConfig(pages=1_000, alias_rate=0.5)))


def some_drafts() -> list[Draft]:
    graph = world_graph()
    walks = [made for seed in range(150) if (made := walk(graph, Random(seed), edges=1 + seed % 5, numbers=seed % 2 == 0))]
    changed = [operator(graph, made, Random(n)) for n, made in enumerate(walks) for operator in (count, list_all, compare)]
    changed += [obfuscate(graph, made, Random(n), level) for n, made in enumerate(walks) for level in (1, 2, 3)]  # type: ignore[arg-type]
    changed += [compose(pair) for pair in pairwise(walks)]
    changed += [compare(graph, first, Random(0), second) for first in walks[:30] for second in walks[30:]]
    return [*walks, *(made for made in changed if made)]


def test_questions_of_a_world_name_their_constants_and_nothing_else() -> None:
    graph = world_graph()
    drafts = some_drafts()
    assert len(drafts) > 500
    for seed, draft in enumerate(drafts):
        text = word(draft, graph, Random(seed))
        if text is None:
            # A pair that has no wording in one sentence; a question that names the answer of another one.
            answers = {part.answer for part in draft.parts}
            assert draft.parts and (draft.query.operation == "compare" or answers & constants(draft.query))
            continue
        meant = {
            value for one in draft.parts or (draft,) for witness in one.witnesses for value in witness.values() if not is_literal(value)
        }
        meant -= constants(draft.query)
        names = re.findall(r"[A-Z][a-z]{3,} [A-Z][a-z]{3,}", text)
        told = {graph.name(key) for key in constants(draft.query) if not is_literal(key)}
        assert set(names) >= told and not {name for key in meant for name in graph.names(key)} & set(names), text
        assert all(graph.name(key) in text for key in constants(draft.query) if is_literal(key)), text
        assert not re.search(r"[{}]|  |V@|\bNone\b| \.| ,", text) and text[0].isupper() and text[-1] in "?.", text
        assert text.count("(") == text.count(")")


def test_the_same_stream_gives_the_same_words() -> None:
    graph = world_graph()
    for seed, draft in enumerate(some_drafts()[:50]):
        assert word(draft, graph, Random(seed)) == word(draft, graph, Random(seed))


@pytest.mark.parametrize("edges", [1, 3, 5])
def test_wordings_differ(edges: int) -> None:
    draft = next(made for seed in range(99) if (made := walk(world_graph(), Random(seed), edges=edges)))
    assert len({word(draft, world_graph(), Random(seed)) for seed in range(40)}) >= 8
