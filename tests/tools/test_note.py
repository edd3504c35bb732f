"""Only what was shown can be noted, and a note names the passage and its document."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from spadework.core.messages import ToolCall
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.tools.gateway import Gateway
from spadework.tools.note import NoteConfig
from spadework.tools.recorder import Recorder
from spadework.tools.tape import Tape
from spadework.tools.tool import Observation, ToolContext

CORPUS = MemoryCorpus(
    [
        Document(id="d1", title="Ondal Brin", text="Ondal Brin is a city.\nIts mayor is Velor Tash."),
        Document(id="d2", title="Velor Tash", text="Velor Tash was born in 1871."),
    ]
)
READ = Observation("Ondal Brin is a city.\nIts mayor is Velor Tash.", tool="read", documents=("d1",))
FOUND = Observation("Ondal Brin: Its mayor is Velor Tash.\nVelor Tash was born in 1871.", tool="search", documents=("d1", "d2"))
SUM = Observation("1871", tool="calculator")


def gateway_with(corpus: MemoryCorpus | None = CORPUS, recorder: Recorder | None = None, **options: Any) -> Gateway:
    return Gateway(NoteConfig(**options).build(ToolContext(corpus=corpus)), recorder=recorder)


def note(quote: str, document: str = "", claim: str = "") -> ToolCall:
    return ToolCall(name="note", arguments={"quote": quote, "document": document, "claim": claim})


NOTES = ToolCall(name="read_notes")


def said(gateway: Gateway, calls: Sequence[ToolCall], shown: Sequence[Observation], label: str = "t/0") -> list[Observation]:
    async def story() -> list[Observation]:
        return [await gateway.call(call, label, shown) for call in calls]

    return asyncio.run(story())


def test_a_passage_is_kept_as_it_was_shown() -> None:
    seen, notes = said(gateway_with(), [note("is  a city. its MAYOR", claim="who"), NOTES], [READ])
    assert seen.text == "Noted as number 1. Cite it as [d1]."
    assert seen.meta == {"note": {"quote": "is a city.\nIts mayor", "document": "d1", "claim": "who"}}
    assert seen.documents == ()
    assert notes.text == '1. who: "is a city. Its mayor" [d1]'


@pytest.mark.parametrize(
    ("call", "shown", "text"),
    [
        (note("Velor Tash"), [], "This was not shown to you in any document."),
        (note("Velor Tash is a poet"), [READ], "This was not shown"),
        (note("1871"), [SUM], "This was not shown"),
        (note(" "), [READ], "The quote is empty."),
        (note("x" * 1001), [READ], "The quote has 1001 characters; the limit is 1000."),
        (note("is a city", "Velor Tash"), [READ], "The quote was shown, but not in 'Velor Tash'. It stands in: d1."),
        (note("is a city", "d7"), [READ], "The quote was shown, but not in 'd7'. It stands in: d1."),
        (note("Velor Tash"), [FOUND], "The quote may stand in several documents: d1, d2. Say which one."),
    ],
)
def test_what_cannot_be_noted_is_explained(call: ToolCall, shown: Sequence[Observation], text: str) -> None:
    seen, notes = said(gateway_with(), [call, NOTES], shown)
    assert (seen.status, notes.text) == ("error", "Nothing is noted.")
    assert seen.text.startswith(text)


def test_documents_by_title_by_id_and_by_what_the_corpus_knows() -> None:
    gateway = gateway_with()
    calls = [note("Velor Tash", "Ondal Brin"), note("Velor Tash", "d2"), note("born in 1871"), note("Ondal Brin: Its mayor", "d1")]
    assert [seen.meta["note"]["document"] for seen in said(gateway, calls, [SUM, FOUND])] == ["d1", "d2", "d2", "d1"]


def test_without_a_corpus_the_results_say_which_documents() -> None:
    first, second = said(gateway_with(None), [note("born in 1871"), note("a city")], [FOUND, READ])
    assert first.text == "The quote may stand in several documents: d1, d2. Say which one."
    assert second.meta["note"]["document"] == "d1"


def test_quotation_marks_and_hyphens_of_any_shape() -> None:
    shown = Observation("She said \u201cthe mayor\u2019s house\u201d.", documents=("d1",))
    (seen,) = said(gateway_with(), [note('"the mayor\'s house"')], [shown])
    assert seen.meta["note"]["quote"] == "\u201cthe mayor\u2019s house\u201d"


def test_notes_are_bounded() -> None:
    seen = said(gateway_with(max_notes=1), [note("a city"), note("is a city")], [READ])
    assert [observation.status for observation in seen] == ["ok", "error"]


def test_what_is_shown_later_does_not_change_earlier_notes() -> None:
    """The first note fails because nothing was shown; after a fork it is still no note, though the passage has been shown since."""

    async def story() -> str:
        gateway = gateway_with()
        past = [note("Velor Tash", "d1"), note("a city")]
        await gateway.restore("t/1", past, shown=[[], [READ]])
        return (await gateway.call(NOTES, "t/1", [READ])).text

    assert asyncio.run(story()) == '1. "a city" [d1]'


def test_a_tape_tells_apart_what_was_shown(tmp_path: Path) -> None:
    """The same call with the same arguments, on a path that has seen the passage and on one that has not."""
    recorder = Recorder(Tape(tmp_path / "tape"))
    (seen,) = said(gateway_with(recorder=recorder), [note("a city")], [READ])
    (other,) = said(gateway_with(recorder=recorder), [note("a city")], [SUM])
    (again,) = said(gateway_with(recorder=recorder), [note("a city")], [READ])
    assert [observation.status for observation in (seen, other, again)] == ["ok", "error", "ok"]
    assert again == seen
    # What the tape has answered stands in the notes all the same.
    last = said(gateway_with(recorder=recorder), [note("a city"), note("Its mayor"), NOTES], [READ])[-1]
    assert last.text == '1. "a city" [d1]\n2. "Its mayor" [d1]'
    recorder.tape.close()
