"""What a model reads off pages, over HTTP with faults, and which of it is believed: every rule by hand."""

import json
import re
from itertools import chain, repeat
from pathlib import Path
from random import Random
from typing import Any

import pytest

from spadework.core.errors import BrokenError, InputError
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.rewards.judge_server import JudgeServer
from spadework.synthesis.claims import Claim, page_key, read_claims, read_pages
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.ledger import ledger_of, locate, rederive
from spadework.synthesis.makers.maker import makers, task_at
from spadework.synthesis.model import Model
from spadework.synthesis.names import mentions
from spadework.synthesis.operators import walk
from spadework.synthesis.query import unique
from spadework.synthesis.read_graph import ReadGraph

PAGES = {
    "one": ("Lamp One", "Lamp One is a film from 1931 that was directed by Ada Moon in her youth. It was shown in Port Vale for years."),
    "two": ("Lamp Two", "Lamp Two is a film that was directed by Cy Sand."),
    "six": ("Lamp Six", "It is the last work of [the painter](cy). Two years before, Ada Moon had bought Lamp Six for her aunt."),
    "ada": ("Ada Moon", "Ada Moon was a director. She was born in Port Vale as the first of six children. She joined the Army in 1920."),
    "cy": ("Cy Sand", "Cy Sand was a painter. He lived in Port Vale until the flood."),
    "vale": ("Port Vale", "Port Vale is a small town on the coast of the north."),
    "army": ("Army (song)", "Army is a song."),
    "gods": ("Mercury (god)", "A god."),
    "star": ("Mercury (planet)", "A star."),
}
DOCUMENTS = [Document(id=key, title=title, text=text) for key, (title, text) in PAGES.items()]
CORPUS = MemoryCorpus(DOCUMENTS)
GOOD = {
    "one": [
        ("Lamp One", "was directed by", "Ada Moon", "that was directed by Ada Moon in her youth"),
        ("It", "was shown in", "Port Vale", "It was shown in Port Vale for years."),
    ],
    "two": [("Lamp Two", "was directed by", "Cy Sand", PAGES["two"][1])],
    "six": [("Ada Moon", "had bought", "Lamp Six", "Two years before, Ada Moon had bought Lamp Six for her aunt.")],
    "ada": [("Ada Moon", "was born in", "Port Vale", "She was born in Port Vale as the first of six children.")],
    "cy": [("Cy Sand", "lived in", "Port Vale", "He lived in Port Vale until the flood.")],
}


def claims_of(said: dict[str, list[tuple[str, str, str, str]]]) -> dict[str, list[Claim]]:
    return {page_key(document): [Claim(*claim) for claim in said.get(document.id, ())] for document in DOCUMENTS}


def graph_of(said: dict[str, list[tuple[str, str, str, str]]]) -> ReadGraph:
    return ReadGraph(CorpusGraph(CORPUS), claims_of(said))


def value(prompt: str, name: str) -> Any:
    found = re.search(rf"^{re.escape(name)}: (.*)$", prompt, re.MULTILINE)
    assert found is not None
    return json.loads(found[1])


def reader(prompt: str) -> str:
    """Reads what stands in GOOD, in the ways in which models write lists."""
    key = next(document.id for document in DOCUMENTS if document.title == value(prompt, "Title"))
    lines = [json.dumps(dict(zip(Claim._fields, claim, strict=True)), indent=1) for claim in GOOD.get(key, ())]
    return "Here you are:\n```json\n[" + ",\n".join(lines) + "]\n```" if lines else "There is nothing.\n**None**"


def model(server: JudgeServer, **options: Any) -> Model:
    values = {"url": server.url, "model": "scripted", "backoff": 0.0, "deadline": 10.0, "retries": 1, "concurrency": 2, **options}
    return Model(endpoint=values, patience=3)


def test_claims_that_stand_on_their_page_are_statements() -> None:
    graph = graph_of(GOOD)
    assert [statement[:3] for statement in graph.statements] == [
        ("one", "{s} was directed by {o}.", "ada"),
        ("one", "{s} was shown in {o}.", "vale"),
        ("two", "{s} was directed by {o}.", "cy"),
        ("six", "{o} had bought {s}.", "ada"),
        ("ada", "{s} was born in {o}.", "vale"),
        ("cy", "{s} lived in {o}.", "vale"),
    ]
    assert not graph.dropped
    for one in graph.statements:
        page = CORPUS.get(one.document)
        assert page is not None and one.document == one.subject
        assert any(mentions(page.text[one.start : one.end], name) for name in graph.names(one.object))
        assert page.text[one.start : one.end].endswith(".") and graph.located(one._replace(start=-1, end=-1)) == one


@pytest.mark.parametrize(
    ("page", "claim", "reason"),
    [
        ("one", ("Lamp One", "was directed by", "Ada Moon", "Lamp One was directed by Ada Moon."), "the sentence is not on the page"),
        ("one", ("Lamp One", "is", "Ada Moon", "Ada Moon"), "the sentence is not on the page"),  # two words are no sentence
        ("one", ("Ada Moon", "was shown in", "Port Vale", PAGES["one"][1][:60]), "neither end is the page"),
        ("one", ("He", "was directed by", "Ada Moon", "that was directed by Ada Moon in her youth"), "neither end is the page"),
        ("one", ("Lamp One", "is", "Lamp One", "Lamp One is a film from 1931"), "both ends are the page"),
        ("one", ("Lamp One", "is from", "1931", "Lamp One is a film from 1931"), "the other end is no page"),
        ("one", ("Lamp One", "was directed by", "Mercury", "that was directed by Ada Moon in her youth"), "the other end is no page"),
        (
            "one",
            ("Lamp One", "was directed by", "Cy Sand", "that was directed by Ada Moon in her youth"),
            "the other end is not in the sentence",
        ),
        (
            "one",
            ("Lamp One", "was produced by", "Ada Moon", "that was directed by Ada Moon in her youth"),
            "the relation is not in the sentence",
        ),
        (
            "one",
            ("Lamp One", "was Ada Moon", "Ada Moon", "that was directed by Ada Moon in her youth"),
            "the relation is not in the sentence",
        ),
        ("one", ("Lamp One", "by", "Ada Moon", "that was directed by Ada Moon in her youth"), "the relation is not in the sentence"),
        ("ada", ("Ada Moon", "joined", "Army", "She joined the Army in 1920."), "the other end may be something else of that name"),
        ("one", GOOD["one"][0], "it is said already"),
    ],
)
def test_other_claims_are_dropped_and_counted(page: str, claim: tuple[str, str, str, str], reason: str) -> None:
    graph = graph_of({**GOOD, page: [*GOOD[page], claim]})
    assert dict(graph.dropped) == {reason: 1} and graph.statements == graph_of(GOOD).statements


def test_marks_that_an_extractor_has_left_make_no_difference() -> None:
    pages = [
        Document(id="a", title="Rock &amp; Roll", text="Rock &amp; Roll was sung by the singer Ada &quot;A&quot; Moon once."),
        Document(id="b", title="Ada Moon", text="Ada Moon sang *Rock &amp; Roll* for the last time."),
    ]
    said = [Claim("Ada Moon", "sang", title, f"Ada Moon sang {title} for the last time.") for title in ("Rock & Roll", "Rock &amp; Roll")]
    for claim in said:
        (found,) = ReadGraph(CorpusGraph(MemoryCorpus(pages)), {page_key(pages[1]): [claim]}).statements
        assert found[:3] == ("b", "{s} sang {o}.", "a") and found[4:] == (0, len(pages[1].text))


def test_a_whole_title_says_which_is_meant() -> None:
    (found,) = graph_of({"ada": [("Ada Moon", "joined", "Army (song)", "She joined the Army in 1920.")]}).statements
    assert found[:3] == ("ada", "{s} joined {o}.", "army")


def test_a_rival_that_the_model_has_overlooked_counts() -> None:
    graph = graph_of(GOOD)
    assert graph.objects("one", "{s} was directed by {o}.") == ["ada"] and graph.subjects("{s} was directed by {o}.", "cy") == ["two"]
    assert graph.having("{s} was directed by {o}.") == ["one", "two"]
    without = graph_of({key: claims for key, claims in GOOD.items() if key != "two"})
    # No claim is about it, and its page says so.
    assert without.subjects("{s} was directed by {o}.", "cy") == ["two"] and without.having("{s} was directed by {o}.") == ["one", "two"]
    assert without.source != graph.source and without.source.startswith(f"{graph.base.source}-read-")
    drawn = [made for seed in range(100) if (made := walk(graph, Random(seed), edges=1))]
    assert drawn and all(unique(made.query, graph) for made in drawn)


@pytest.mark.parametrize("name", [name for name in makers.names() if makers.get(name).needs == "documents"])
def test_makers_draw_from_it_and_quote_nothing_but_the_claims(name: str) -> None:
    graph = graph_of(GOOD)
    sizes = {"deepdive": {"length": (3, 3), "restarts": (1, 1)}}.get(name, {})
    maker = makers.build(name, {key: size for key, size in sizes.items() if key in makers.get(name).model_fields})
    for task in filter(None, (task_at(maker, graph, 0, index) for index in range(60))):
        located = locate(task, graph)
        assert rederive(located) == task.answers and task.source == graph.source
        for one in ledger_of(located).statements:
            assert one[:3] in {statement[:3] for statement in graph.statements} and one.start >= 0
        assert "in her youth" not in task.question


def test_pages_are_read_over_http_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "read.jsonl"
    with JudgeServer(reader, faults=["error", "garbage", "drop", "empty"]) as server:
        found = read_pages(CORPUS, model(server, retries=4, concurrency=1), file)
        assert found == (9, 9, 6, 0, 0, "") and len(server.prompts) == 13
    assert read_claims(file) == claims_of(GOOD)
    with JudgeServer(reader) as server:
        assert read_pages(CORPUS, model(server), file, resume=True) == found and not server.prompts
        changed = MemoryCorpus([DOCUMENTS[0].model_copy(update={"text": "Another text."}), *DOCUMENTS[1:8]])
        assert read_pages(changed, model(server), file, resume=True)[:2] == (8, 8) and len(server.prompts) == 1
        with pytest.raises(InputError, match="is there already; add --resume"):
            read_pages(CORPUS, model(server), file)
        with pytest.raises(InputError, match="was read with another reader: scripted"):
            read_pages(CORPUS, Model(endpoint={"url": server.url, "model": "other"}), file, resume=True)


def test_an_endpoint_that_dies_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "read.jsonl"
    dying = JudgeServer(reader, faults=chain(["none"] * 4, repeat("error")))
    with dying as server, pytest.raises(BrokenError, match=r"3 questions in a row .*; 4 pages are in .*read.jsonl, go on with --resume"):
        read_pages(CORPUS, model(server, retries=0, concurrency=1), file)
    with JudgeServer(reader) as server:
        assert read_pages(CORPUS, model(server), file, resume=True)[:3] == (9, 9, 6) and len(server.prompts) == 5
    # The rest of a batch in which it died: one reply of four.
    file.unlink()
    with JudgeServer(reader, faults=chain(["none"], repeat("drop"))) as server, pytest.raises(BrokenError, match="; 1 pages are in"):
        read_pages(CORPUS, model(server, retries=0, concurrency=4), file)
    with JudgeServer(reader, delay=0.6) as server, pytest.raises(BrokenError, match=r"not finished in time|Timeout"):
        read_pages(CORPUS, model(server, retries=0, concurrency=4, deadline=0.2), file, resume=True)
    assert len(read_claims(file)) == 1


def test_nonsense_is_counted_and_the_page_stays_unread(tmp_path: Path) -> None:
    file = tmp_path / "read.jsonl"
    bad = '{"subject": "Lamp Two", "relation": "", "object": "Cy Sand", "sentence": "x"} {"subject": 4} {nonsense}'

    def at_times(prompt: str) -> str:
        return {"Lamp One": "I am a lamp.", "Lamp Two": f"{bad}\n{reader(prompt)}"}.get(value(prompt, "Title"), reader(prompt))

    with JudgeServer(at_times) as server:
        found = read_pages(CORPUS, model(server, retries=0), file)
    assert found[:5] == (9, 8, 4, 3, 1) and "no statement in the reply 'I am a lamp.'" in found.reason
    with JudgeServer(reader) as server:
        assert read_pages(CORPUS, model(server), file, resume=True)[:5] == (9, 9, 6, 3, 0) and len(server.prompts) == 1


@pytest.mark.parametrize("text", ["{}\n", '{"reader": "x"}\n', '{"reader": "x", "prompt": "y"}\n{"page": "z"}\n', ""])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(InputError, match="not a file of `spadework corpus read`"):
        read_claims(tmp_path / "x.jsonl")
    with pytest.raises(InputError, match="write it with `spadework corpus read`"):
        read_claims(tmp_path / "no.jsonl")
