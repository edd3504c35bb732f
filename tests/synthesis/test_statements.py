import re
from functools import cache

import pytest

from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.statements import LedgerGraph, Statement, WorldGraph, is_literal, literal, number


@cache
def world_graph() -> WorldGraph:
    return WorldGraph(build_world(WorldConfig(pages=1_000, alias_rate=0.3, stale_rate=0.1, distractor_rate=0.5, table_rate=0.5)))


@cache
def stated() -> set[tuple[str, str, str]]:
    """What the fact lines of the current pages say, read from their text alone."""
    graph = world_graph()
    ids = {graph.name(key): key for key in graph.entities}
    found = set()
    for page in graph.world:
        if page.id in graph.world.stale:
            continue
        for match in re.finditer(rf"^{page.title} ([a-z]+) ([A-Z][a-z]+ [A-Z][a-z]+|\d+)$", page.text, re.MULTILINE):
            found.add((page.id, match[1], ids.get(match[2], f"={match[2]}")))
    return found


def test_a_number_is_never_an_id() -> None:
    assert literal(1926) == "=1926" and number("=1926") == 1926
    assert is_literal("=1926") and not is_literal("1926")


def test_a_world_says_what_its_pages_say() -> None:
    graph = world_graph()
    assert {edge[:3] for key in graph.entities for edge in graph.outgoing(key)} == stated()
    assert {edge[:3] for key in graph.entities for edge in graph.incoming(key)} == {edge for edge in stated() if not is_literal(edge[2])}


def test_a_world_looks_up_in_both_directions() -> None:
    graph = world_graph()
    by_object: dict[tuple[str, str], set[str]] = {}
    for subject, relation, object in stated():
        assert graph.objects(subject, relation) == (object,)
        by_object.setdefault((relation, object), set()).add(subject)
    for (relation, object), subjects in by_object.items():
        assert set(graph.subjects(relation, object)) == subjects
        assert subjects <= set(graph.having(relation))
    assert graph.objects("w0-1", "flavour") == graph.objects("nobody", "born") == graph.subjects("flavour", "w0-1") == ()
    assert graph.having("flavour") == graph.between("flavour", 0, 10) == ()


@pytest.mark.parametrize(("low", "high"), [(1950, 1959), (1900, 1999), (1950, 1950), (1999, 1950), (5000, 6000)])
def test_numbers_in_a_range(low: int, high: int) -> None:
    expected = {key for key, relation, value in stated() if relation == "born" and low <= int(value[1:]) <= high}
    found = world_graph().between("born", low, high)
    assert set(found) == expected and len(found) == len(expected)


@pytest.mark.parametrize("beginning", ["", "K", "k", "Kr", "kra", "Q"])
def test_entities_of_a_type_by_the_beginning_of_their_names(beginning: str) -> None:
    graph = world_graph()
    cities = [entity for entity in graph.world.entities.values() if entity.type == "city"]
    assert list(graph.of_type("city", beginning)) == [e.id for e in cities if e.title.lower().startswith(beginning.lower())]


def test_a_statement_is_found_on_its_page() -> None:
    graph = world_graph()
    for key in graph.entities[::7]:
        for statement in graph.outgoing(key):
            assert statement.start == -1 and statement.document == graph.document(key) == key
            located = graph.located(statement)
            text = graph.world.get(located.document).text  # type: ignore[union-attr]
            expected = f"{graph.name(key)} {statement.relation} {graph.name(statement.object)}"
            assert text[located.start : located.end] == expected
            assert located.start == 0 or text[located.start - 1] == "\n"


def test_names_and_types() -> None:
    graph = world_graph()
    entity = next(entity for entity in graph.world.entities.values() if entity.aliases)
    assert graph.names(entity.id) == (entity.title, *entity.aliases) and graph.type(entity.id) == entity.type
    assert graph.names("=12") == ("12",) and graph.name("=12") == "12" and graph.type("=12") == "number" and graph.document("=12") == ""
    assert graph.source == f"world:{graph.world.content_hash[:12]}"


def test_the_graph_of_some_statements() -> None:
    statements = [
        Statement("a", "born", "p", "page-a", 3, 9),
        Statement("a", "age", "=30", "page-a"),
        Statement("b", "born", "p", "page-b"),
        Statement("b", "born", "p", "page-c"),
    ]
    graph = LedgerGraph(statements, {"a": ["Ada", "A"], "b": ["Bo"], "p": ["Pax"]}, {"a": "person", "p": "city"})
    assert graph.entities == ["a", "p", "b"]
    assert graph.outgoing("a") == statements[:2] and graph.incoming("p") == [statements[0], *statements[2:]]
    assert graph.subjects("born", "p") == ["a", "b"] and graph.objects("b", "born") == ["p"]
    assert graph.between("age", 30, 30) == ["a"] and graph.between("age", 31, 40) == [] and graph.having("born") == ["a", "b"]
    assert graph.of_type("person") == ["a"] and graph.of_type("city", "q") == [] and graph.of_type("city", "P") == ["p"]
    assert graph.type("b") == "" and graph.names("a") == ("Ada", "A") and graph.name("=30") == "30"
    assert graph.document("b") == "page-b" and graph.document("p") == "" and graph.located(statements[0]) == statements[0]
