import re
from pathlib import Path
from random import Random
from urllib.parse import unquote

import pytest

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.ingest import read_documents
from spadework.corpus.store import MemoryCorpus, content_hash
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.site import Site
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.draft import ledger
from spadework.synthesis.makers.maker import makers, tasks
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
        text="The hub of it leads every tired sailor straight to [the old lamp](lamp.md). "
        "Here it goes on past many green fields to [[Far Shore|a shore]] at last. "
        "Also see the site of [Some Club](https://club.example/) for more of it.",
        links=("wiki/lamp.md", "Far Shore", "https://club.example/"),
    )
    lamp = Document(id="wiki/lamp.md", title="Lamp", text="A Lamp is a light that stands on a table. It is like the Old Club of the town.")
    shore = Document(id="s", title="Far Shore", text="Nothing is said here about any other page at all.")
    club = Document(id="c", title="Club (society)", text="See the [Old Club](c) for all about it.", url="https://club.example/")
    graph = CorpusGraph(MemoryCorpus([hub, lamp, shore, club]))
    assert edges(graph) == {
        ("wiki/hub.md", "The hub of it leads every tired sailor straight to {o}.", "wiki/lamp.md"),
        ("wiki/hub.md", "Here it goes on past many green fields to {o} at last.", "s"),
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


def test_what_is_not_about_the_page() -> None:
    pages = {
        "ada": ("Ada Moon", "Nothing."),
        "roe": (
            "Ann Roe",
            "Ann Moon governs the town of Ada Moon\n"  # a line of a list, without a full stop
            "The town of Ann Roe knows Ada Moon\n"  # the same with the name of the page
            "Ada Moon won the prize of the town this year. "  # of many years
            "Ada Moon is the oldest keeper of all the lamps on the northern coast. "  # says what she is
            "There was Ada Moon. "  # says too little
            "In the winter the old keeper Ada Moon came to the northern coast with a lamp.",
        ),
        "old": ("Ann Roe (archived 1998)", "In the winter the old keeper Ada Moon came to the northern coast with a boat."),
        "best": ("Best Lamps", 'Best Lamps is much like "The Best of Ada Moon" and like "Ada Moon", a song.'),
        "cut": ("Cut Lamps", "Cut Lamps is the work of Ada Moon and of , who is not named here."),
    }
    graph = graph_of(pages)
    assert edges(graph) == {
        ("roe", "The town of {s} knows {o}", "ada"),
        ("roe", "In the winter the old keeper {o} came to the northern coast with a lamp.", "ada"),
        ("best", '{s} is much like "The Best of Ada Moon" and like "{o}", a song.', "ada"),
    }
    assert "old" not in graph.entities


def test_a_work_is_not_who_made_it() -> None:
    lines = {
        "The songs of the winter were sung by the great band Red Lamp at noon.": False,
        "He played the part of the keeper of the drama Red Lamp at noon.": False,
        "He sold all the copies of the album Red Lamp at noon in the town.": True,
        "In the winter he sold Red Lamp and nothing else at noon in the town.": True,
    }
    for line, read in lines.items():
        linked = Document(id="l", title="Lee Roe", text=line, links=("album",))
        assert bool(edges(graph_of({"album": ("Red Lamp (album)", "It was made in a house by the sea.")}, l=linked))) is read, line


def test_short_names_of_persons() -> None:
    pages = {
        "ada": (
            "Ada Moon",
            "Ada Moon (born 1929) is a keeper. In 1950 Moon met the painter Cy Sand and Eve Moon. "
            "He said that Ada's lamp was like that of Cy Sand.",
        ),
        "inn": ("Blue Moon", "Blue Moon is an inn by the sea. In the summer the Moon was sold to Cy Sand by the keeper of the coast."),
        "cy": ("Cy Sand", "Nothing."),
    }
    assert edges(graph_of(pages)) == {
        ("ada", "In 1950 {s} met the painter {o} and Eve Moon.", "cy"),
        ("ada", "{s} said that {s}'s lamp was like that of {o}.", "cy"),
        ("inn", "In the summer the Moon was sold to {o} by the keeper of the coast.", "cy"),
    }


def test_small_words_make_no_other_relation() -> None:
    pages = {
        "a": ("Lamp One", "Lamp One has Ada Moon as its only keeper."),
        "b": ("Lamp Two", "Lamp Two's only keeper is Ada Moon."),
        "ada": ("Ada Moon", "Nothing."),
    }
    graph = graph_of(pages)
    for key in "ab":
        assert graph.subjects(graph.outgoing(key)[0].relation, "ada") == ["a", "b"]


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


@pytest.mark.parametrize(
    "texts",
    [
        ["Ada Moon lives alone on the coast of the north."],
        ["Ada Moon lives alone on the coast of the north.", "Cy Sand lives alone on the coast of the south."],
    ],
)
def test_pages_without_links_say_so(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spadework.synthesis.makers.maker._PATIENCE", 300)
    graph = graph_of({str(i): (title, text) for i, (title, text) in enumerate(zip(("Ada Moon", "Cy Sand"), texts, strict=False))})
    for maker in ("sailorfog", "deepdive", "report"):
        with pytest.raises(InputError, match="has no links between its pages"):
            next(tasks(makers.build(maker), graph, seed=0, n=1))


def test_a_cycle_of_pages_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spadework.synthesis.makers.maker._PATIENCE", 300)
    names = ("Ada Moon", "Cy Sand", "Eve Roe")
    pages = {str(i): (name, f"{name} wrote many letters to the painter {names[i - 2]} of the coast.") for i, name in enumerate(names)}
    graph = graph_of(pages)
    assert len(edges(graph)) == 3
    with pytest.raises(InputError, match="different tasks"):
        list(tasks(makers.build("sailorfog"), graph, seed=0, n=1_000))


def test_a_folder_of_a_worlds_pages_says_nothing_that_is_not_so(tmp_path: Path) -> None:
    world = build_world(WorldConfig(seed=1, pages=1_000, distractor_rate=1, stale_rate=0.2, prose_rate=0.5))
    site = Site(world)
    for slug in [*site.pages][::4]:
        body = re.sub(r'href="/wiki/([^"]*)"', r'href="\1.html"', site.answer(f"/wiki/{slug}")[2])
        (tmp_path / f"{unquote(slug)}.html").write_text(body)
    graph = CorpusGraph(MemoryCorpus(read_documents(tmp_path)))
    ids = {entity.title: entity.id for entity in world.entities.values()}
    found = [edge for key in graph.entities for edge in graph.outgoing(key)]
    assert len(found) > 200
    for edge in found:
        ends = [ids[graph.name(key)] for key in (edge.subject, edge.object)]
        assert any(target in ends for end in ends for target in world.facts[end].values()), edge
        # Beside its own name or an alias no other one stands in a line: it is not about a page of like name.
        own = (name in edge.relation for name in world.names(ends[0]))
        assert "{s}" in edge.relation or any(own), edge


def test_a_folder_of_html(tmp_path: Path) -> None:
    text = "<html><head><title>{t}</title></head><body><main><p>{p}</p></main></body></html>"
    filler = " It has been told for many years in the town and on the coast, and nobody knows who was the first to tell it to a stranger."
    one = 'The keeper Ada Moon lit it every night with the help of <a href="lamp.html">Lamp</a> alone for years.'
    (tmp_path / "a.html").write_text(text.format(t="Old House", p=one + filler))
    (tmp_path / "lamp.html").write_text(text.format(t="Lamp", p="This page is about a lamp and about nothing else in the world." + filler))
    (tmp_path / "ada.html").write_text(text.format(t="Ada Moon", p="She was born in a house by the sea and stayed there." + filler))
    graph = CorpusGraph(MemoryCorpus(read_documents(tmp_path)))
    assert {edge[::2] for edge in edges(graph)} == {("a.html", "ada.html"), ("a.html", "lamp.html")}
