import re
from pathlib import Path
from random import Random

import pytest

from spadework.corpus.document import Document
from spadework.corpus.ingest import read_documents
from spadework.corpus.store import MemoryCorpus, content_hash
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.draft import ledger
from spadework.synthesis.names import plain
from spadework.synthesis.operators import link, obfuscate, prune, union, walk
from spadework.synthesis.query import unique
from spadework.synthesis.statements import Graph
from spadework.synthesis.wording import word

PAGES = {
    "ada": ("Ada Moon", "Ada Moon built the lamp of the town Port Vale in her youth. She was a friend of the painter Cy Sand for years."),
    "vale": ("Port Vale (town)", "Port Vale is a small town on the coast of the north. It lies between two hills and a wide river."),
    "cy": (
        "Cy Sand",
        "In the town of Port Vale he met the aunt of Ada Moonstone at noon. Cy Sand admired the works of Ada Moon all his life.",
    ),
    "boy": ("Boy", "The film Boy is about Ada Moon and little else. It is not about her Game Boy or Cy Sand or any work of theirs."),
}


def graph_of(pages: dict[str, tuple[str, str]] = PAGES, **more: Document) -> CorpusGraph:
    documents = [Document(id=key, title=title, text=text) for key, (title, text) in pages.items()]
    return CorpusGraph(MemoryCorpus([*documents, *more.values()]))


def edges(graph: Graph) -> set[tuple[str, str, str]]:
    return {edge[:3] for key in graph.entities for edge in graph.outgoing(key)}


def test_sentences_that_mention_a_page_are_statements() -> None:
    assert edges(graph_of()) == {
        ("ada", "{s} built the lamp of the town {o} in her youth.", "vale"),
        ("ada", "{s} was a friend of the painter {o} for years.", "cy"),
        ("cy", "In the town of {o} he met the aunt of Ada Moonstone at noon.", "vale"),
        ("cy", "{s} admired the works of {o} all his life.", "ada"),
        # The toy is not the film.
        ("boy", "The film {s} is about {o} and little else.", "ada"),
    }


def test_a_statement_stands_where_it_says() -> None:
    graph = graph_of()
    for key in graph.entities:
        for edge in graph.outgoing(key):
            page = graph.corpus.get(edge.document)
            assert page is not None and edge.document == graph.document(edge.subject) == edge.subject
            sentence = plain(page.text[edge.start : edge.end])
            words = edge.relation.replace("{o}", graph.name(edge.object))
            assert words.replace("{s}", graph.name(edge.subject)) == sentence or words.replace("{s}", "She") == sentence
            assert graph.located(edge._replace(start=-1, end=-1)) == edge


def test_links_name_pages_by_path_title_and_address() -> None:
    hub = Document(
        id="wiki/hub.md",
        title="Hub",
        text="The hub of it leads to [the old lamp](lamp.md) and on. Here it goes on to [[Far Shore|a shore]] at last. "
        "Also see the site of [Some Club](https://club.example/) for more of it.",
        links=("wiki/lamp.md", "Far Shore", "https://club.example/"),
    )
    lamp = Document(id="wiki/lamp.md", title="Lamp", text="A Lamp is a light that stands on a table. It is like the Old Club of the town.")
    shore = Document(id="s", title="Far Shore", text="Nothing is said here about any other page at all.")
    club = Document(id="c", title="Club (society)", text="See the [Old Club](c) for all about it.", url="https://club.example/")
    graph = CorpusGraph(MemoryCorpus([hub, lamp, shore, club]))
    assert edges(graph) == {
        ("wiki/hub.md", "The hub of it leads to {o} and on.", "wiki/lamp.md"),
        ("wiki/hub.md", "Here it goes on to {o} at last.", "s"),
        ("wiki/hub.md", "Also see the site of {o} for more of it.", "c"),
        # The text of a link on another page is a name of its page.
        ("wiki/lamp.md", "{s} is like the {o} of the town.", "c"),
    }
    assert graph.names("c") == ("Club", "Club (society)", "Some Club", "Old Club")


def test_a_common_word_is_a_mention_only_with_a_link() -> None:
    pages = {str(i): (f"Thing {i}", f"This is about a Company and thing number {i} of many.") for i in range(10)}
    pages["film"] = ("Company", "A film of which nobody knows anything at all.")
    linked = Document(id="l", title="Linked", text="This one is about Company and nothing else here.", links=("film",))
    assert edges(graph_of(pages, l=linked)) == {("l", "This one is about {o} and nothing else here.", "film")}
    few = {key: page for key, page in pages.items() if key in ("1", "2", "film")}
    assert {edge[0] for edge in edges(graph_of(few))} == {"1", "2"}


def test_a_title_with_a_bracket_needs_more_than_its_name() -> None:
    pages = {
        "song": ("Red Army (Elm song)", "It was heard on every street of the town that year."),
        "a": ("Ann Roe", "The pay of the Red Army was raised twice in that year."),
        "b": ("Ben Roe", "He liked the song Red Army more than any other of them."),
        "c": ("Cat Roe", "The album has songs by Elm and others, Red Army and many other names on it."),
        "d": ("Dan Roe", "The record Red Army (Elm song) was played by him at noon."),
        "film": ("Elm (2004)", "Its music came from Eve Roe and from her sister."),
        "e": ("Eve Roe", "She wrote the score of Elm in a week or less."),
    }
    linked = Document(id="l", title="Lee Roe", text="It was [Red Army](song) that he heard on the radio once.", links=("song",))
    found = {edge[::2] for edge in edges(graph_of(pages, l=linked))}
    assert found == {("b", "song"), ("c", "song"), ("d", "song"), ("l", "song"), ("film", "e"), ("e", "film")}


def test_the_subject_of_a_page() -> None:
    pages = {
        "lee": (
            "Lee Wood",
            "Barton Lee Wood (born 1929) is the brother of Ada Moon of the north. A friend of A Lee Wood Fan and of Ada Moon was there.",
        ),
        "inn": ("The Inn", "The Inn is a film by Ada Moon that nobody has seen."),
        "penny": ("Penny, Ohio", "Today Penny is the only place that Ada Moon has never seen."),
        "list": ("List of lamps", "They were all lit by Ada Moon on the very same day."),
        "two": ("Bo Sand", "The pair was beaten by Ada Moon on the very same day."),
        "cut": ("Ah! A Lamp", "Ah! A lamp is a film about Ada Moon and about her lamp."),
        "amp": ("Rock &amp; Roll", "Rock & Roll was sung by Ada Moon ( , ISBN ) in one (; very long) night."),
        "nowiki": ("Cy Sand", 'The film "" was made with Ada Moon in the year after.'),
        "ada": ("Ada Moon", "Nothing."),
    }
    assert edges(graph_of(pages)) == {
        ("lee", "{s} (born 1929) is the brother of {o} of the north.", "ada"),
        ("inn", "{s} is a film by {o} that nobody has seen.", "ada"),
        ("penny", "Today {s} is the only place that {o} has never seen.", "ada"),
        ("amp", "{s} was sung by {o} in one (very long) night.", "ada"),
    }


def test_a_statement_has_all_relations_that_say_less() -> None:
    pages = {
        "a": ("Lamp One", "Lamp One is a film directed by Ada Moon."),
        "b": ("Lamp Two", "Lamp Two is a late silent film that was directed by Ada Moon in Vale."),
        "c": ("Lamp Six", "Lamp Six is a film produced by Ada Moon."),
        "ada": ("Ada Moon", "Nothing."),
    }
    graph = graph_of(pages)
    short, long = (graph.outgoing(key)[0].relation for key in "ab")
    assert graph.subjects(short, "ada") == graph.having(short) == ["a", "b"]
    assert graph.subjects(long, "ada") == graph.having(long) == ["b"]
    assert graph.objects("b", short) == ["ada"] and graph.objects("a", long) == []
    # No question has the first film as its answer: the second one fits it too.
    assert {made.answer for seed in range(60) if (made := walk(graph, Random(seed), edges=1))} == {"b", "c", "ada"}


def test_clues_are_numbered_where_there_are_several_and_none_stands_twice() -> None:
    pages = {
        "a": ("Lamp One", "Lamp One was lit by Ada Moon and by Cy Sand at noon."),
        "b": ("Lamp Two", "It was sold to Cy Sand in the year of the flood."),
        "ada": ("Ada Moon", "Nothing."),
        "cy": ("Cy Sand", "Nothing."),
    }
    graph = graph_of(pages)
    drafts = [made for seed in range(200) if (made := walk(graph, Random(seed), edges=1 + seed % 2, start="cy"))]
    asked = {text for seed, made in enumerate(drafts) if (text := word(made, graph, Random(seed)))}
    assert "Which thing or person is X? X was lit by Ada Moon and by Cy Sand at noon." in asked
    assert any("(1)" in text and "(2)" in text for text in asked)
    for text in asked:
        clues = re.split(r"\(\d\) ", text)[1:]
        assert len(set(clues)) == len(clues) != 1


def test_what_it_does_not_read() -> None:
    lines = """# About Ada Moon and all her works
| Ada Moon built a table | 4 |
> Ada Moon said so to all of them
See Ada Moon.
Odd {o} marks and Ada Moon in one of them.
Cut (by Ada Moon and the others here.
of Ada Moon and the others who came.
"""
    graph = graph_of({"ada": ("Ada Moon", "Nothing."), "x": ("X Ray", lines)})
    assert edges(graph) == set()


def test_a_name_of_two_pages_is_nobodys() -> None:
    twins = {
        "a": ("Mercury (god)", "A god."),
        "b": ("Mercury (planet)", "A star."),
        "c": ("Cy Sand", "Once he saw the bright Mercury from here."),
    }
    assert edges(graph_of(twins)) == set()


def test_both_directions_and_what_is_not_known() -> None:
    graph = graph_of()
    relation = "{s} admired the works of {o} all his life."
    assert graph.subjects(relation, "ada") == graph.having(relation) == ["cy"] and graph.objects("cy", relation) == ["ada"]
    assert {edge.subject for edge in graph.incoming("ada")} == {"cy", "boy"}
    assert graph.exact is False and graph.type("ada") == "" and graph.type("=3") == "number" and graph.names("=3") == ("3",)
    assert graph.of_type("person") == graph.between("born", 0, 9) == () and graph.having("born") == [] and graph.document("=3") == ""
    assert graph.name("vale") == "Port Vale" and graph.names("vale") == ("Port Vale", "Port Vale (town)")
    assert graph.source == f"corpus-{content_hash(graph.corpus)[:12]}"


def test_one_page_and_none() -> None:
    assert edges(graph_of({"a": ("Ada Moon", "Ada Moon knows Ada Moon and nobody else.")})) == set()
    assert CorpusGraph(MemoryCorpus([])).entities == []


def test_operators_work_on_pages() -> None:
    graph = graph_of()
    made = next(made for seed in range(99) if (made := walk(graph, Random(seed), edges=2)) and len(made.bound) == 2)
    assert unique(made.query, graph) and {edge[:3] for edge in ledger(made, graph).statements} <= edges(graph)
    assert prune(graph, made, Random(0)) == made and union(graph, made, Random(0)) is None
    assert obfuscate(graph, made, Random(0), 1) is obfuscate(graph, made, Random(0), 3) is None
    base = next(made for seed in range(99) if (made := walk(graph, Random(seed), edges=1, start="vale")) and made.answer == "vale")
    linked = link(graph, base, Random(1))
    assert linked is not None and linked.answer == "vale" and unique(linked.query, graph)


def test_real_pages(data_dir: Path) -> None:
    graph = CorpusGraph(MemoryCorpus(read_documents(data_dir / "hotpotqa_train100" / "corpus.jsonl")))
    found = [edge for key in graph.entities for edge in graph.outgoing(key)]
    assert len(found) > 300
    for edge in found:
        page = graph.corpus.get(edge.document)
        assert page is not None
        sentence = plain(page.text[edge.start : edge.end])
        assert any(name in sentence for name in graph.names(edge.object)) and "{o}" in edge.relation


@pytest.mark.parametrize("title", ["", "(2004)", "A+B (x", "$9.99"])
def test_odd_titles(title: str) -> None:
    graph = graph_of({"odd": (title, "A line about Ada Moon and her many friends."), "ada": ("Ada Moon", "Nothing.")})
    assert edges(graph) == {("odd", "A line about {o} and her many friends.", "ada")}


def test_a_folder_of_html(tmp_path: Path) -> None:
    text = "<html><head><title>{t}</title></head><body><main><p>{p}</p></main></body></html>"
    filler = " It has been told for many years in the town and on the coast, and nobody knows who was the first to tell it to a stranger."
    one = 'The keeper Ada Moon lit it every night with the help of <a href="lamp.html">Lamp</a> alone for years.'
    (tmp_path / "a.html").write_text(text.format(t="Old House", p=one + filler))
    (tmp_path / "lamp.html").write_text(text.format(t="Lamp", p="This page is about a lamp and about nothing else in the world." + filler))
    (tmp_path / "ada.html").write_text(text.format(t="Ada Moon", p="She was born in a house by the sea and stayed there." + filler))
    graph = CorpusGraph(MemoryCorpus(read_documents(tmp_path)))
    assert {edge[::2] for edge in edges(graph)} == {("a.html", "ada.html"), ("a.html", "lamp.html")}
