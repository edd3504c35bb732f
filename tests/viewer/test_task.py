"""The page of a task: everything of its ledger is on it, and text of a page stays text."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.synthesis.ledger import Edit, Ledger, Verdict, dump_ledger
from spadework.synthesis.query import Between, Initial, OfType, OneOf, Query, Triple, Variable
from spadework.synthesis.statements import Statement
from spadework.tasks.task import Task
from spadework.viewer.task import query_graph, task_lines, write_task

X, Y, N = (Variable(name) for name in ("v0", "v1", "v2"))
QUERY = Query(
    X,
    (Triple(X, "employer", "m"), Triple(Y, "mentor", X), Triple(Y, "age", N), Triple(OneOf(("m", "n")), "owner", Y)),
    (OfType(Y, "person"), Initial(Y, "B"), Between(N, 30, 39)),
)
TEXT = "Ada Moon is a person.\nAda Moon employer Mo & Co\n<script>alert(1)</script>"
STATEMENTS = (
    Statement("a", "employer", "m", "a", 22, 47),
    Statement("b", "mentor", "a", "b"),
    Statement("b", "age", "=33", "b"),
    Statement("n", "owner", "b", "n"),
)
NAMES = {"a": ("Ada Moon", "Lady A"), "b": ("Bo Reed",), "m": ("Mo & Co",), "n": ("Nil Ltd",)}
LEDGER = Ledger(QUERY, STATEMENTS, NAMES, {"b": "person"}, (Edit("walk", "3 edges", 0, 4),), (Verdict("uniqueness", True, "one answer"),))
TASK = Task(
    id="t-1",
    question="Who?",
    answers=("Ada Moon", "Lady A"),
    evidence=("a", "b", "n"),
    hops=3,
    kind="sailorfog",
    meta={"ledger": dump_ledger(LEDGER)},
)


def test_the_graph_of_a_query() -> None:
    svg = ElementTree.fromstring(query_graph(QUERY, LEDGER.graph, {"v0": "a", "v1": "b"}))
    texts = ["".join(text.itertext()) for text in svg.iter("text")]
    # A text has its full words as a title, and again as what is drawn.
    drawn = [text[: len(text) // 2] for text in texts]
    # The target; below it the employer, and who it mentors, with an age and an owner below that.
    assert drawn == [
        "? = Ada Moon", "employer \u2192", "Mo & Co", "\u2190 mentor", "? = Bo Reed \u00b7 a person \u00b7 B\u2026",
        "age \u2192", "? \u00b7 30 to 39", "\u2190 owner", "Mo & Co or Nil Ltd",
    ]  # fmt: skip
    assert len(list(svg.iter("circle"))) == 3 and len(list(svg.iter("rect"))) == 2 and len(list(svg.iter("path"))) == 4
    places = [(float(text.get("x", 0)), float(text.get("y", 0))) for text in svg.iter("text") if text.get("class") == "node"]
    assert [x for x, _ in places] == [28, 52, 52, 76, 76] and [y for _, y in places] == sorted(y for _, y in places)


def test_the_page_shows_everything_and_runs_nothing(tmp_path: Path) -> None:
    corpus = MemoryCorpus([Document(id="a", title="Ada Moon", text=TEXT)])
    write_task(TASK, tmp_path / "new" / "page.html", corpus)
    html = (tmp_path / "new" / "page.html").read_text()
    assert "<mark>Ada Moon employer Mo &amp; Co</mark>" in html and "<svg" in html
    assert "uniqueness" in html and "one answer" in html and "3 edges" in html and "Bo Reed: age 33" in html
    assert "<script>alert(1)</script>" not in html and "&lt;script&gt;alert(1)" in html
    assert not re.search(r"(?:src|href)=\"http", html)
    write_task(TASK, tmp_path / "page.html")
    assert "name them with --corpus DIR or --world SEED" in (tmp_path / "page.html").read_text()
    write_task(TASK.model_copy(update={"meta": {}}), tmp_path / "page.html", corpus)
    assert "keeps no ledger" in (tmp_path / "page.html").read_text()


def test_parts_have_a_graph_each(tmp_path: Path) -> None:
    both = Ledger(Query(X, operation="compose", parts=(QUERY, QUERY)), STATEMENTS, NAMES)
    write_task(TASK.model_copy(update={"meta": {"ledger": dump_ledger(both)}}), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert html.count('class="query"') == 2 and "Part 2" in html and "Asked: compose" in html and "No gate has looked" in html


def test_a_task_as_text() -> None:
    text = task_lines(TASK)
    assert "answers:  Ada Moon | Lady A" in text and "[b] Bo Reed: mentor Ada Moon" in text
    assert "walk: 3 edges (0 -> 4 clues)" in text and "uniqueness: passed; one answer" in text
    assert "statements" not in task_lines(TASK.model_copy(update={"meta": {}}))
