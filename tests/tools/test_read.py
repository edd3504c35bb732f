"""Pages are read in parts, and every part leads to the next."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.core.errors import ToolError
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.tools.read import ReadConfig, ReadTool
from spadework.tools.tool import Observation


def reader(*pages: tuple[str, str], max_chars: int = 100) -> ReadTool:
    documents = [Document(id=f"d{number}", title=title, text=text) for number, (title, text) in enumerate(pages)]
    return ReadTool(MemoryCorpus(documents), ReadConfig(max_chars=max_chars))


def read(tool: ReadTool, title: str) -> Observation:
    return asyncio.run(tool(title=title))


def test_a_page_by_title_in_any_case_or_id() -> None:
    tool = reader(("Ondal Brin", "A city."))
    for key in ("Ondal Brin", " ondal brin ", "d0"):
        assert read(tool, key) == Observation(text="A city.", tool="read", documents=("d0",))


def test_parts_end_at_line_ends() -> None:
    # 60 + 1 + 60 characters: the second line does not fit into 100, and the line end is in the second half of the part.
    tool = reader(("P", "a" * 60 + "\n" + "b" * 60))
    assert read(tool, "P").text == "a" * 60 + "\n[part 1 of 2; read 'P#2' to go on]"
    assert read(tool, "P#2").text == "b" * 60


def test_a_title_that_looks_like_a_part_is_a_title() -> None:
    tool = reader(("Area#2", "secret"), ("Area", "x" * 150))
    assert read(tool, "Area#2").text == "secret"
    assert read(tool, "Area#1").text.startswith("x" * 100)


@pytest.mark.parametrize(
    ("title", "why"), [("Q", "There is no page 'Q'"), ("Q#2", "There is no page 'Q#2'"), ("P#2", "'P' has 1 part; there is no part 2")]
)
def test_what_is_not_there_is_explained(title: str, why: str) -> None:
    with pytest.raises(ToolError, match=why):
        read(reader(("P", "text")), title)


@given(st.lists(st.text(alphabet="ab ", max_size=150), max_size=8).map("\n".join))
def test_the_parts_are_the_page(text: str) -> None:
    tool, title, words = reader(("P", text)), "P", ""
    while True:
        shown, _, hint = read(tool, title).text.partition("\n[part ")
        assert len(shown) <= 100
        words += shown
        if not hint:
            break
        title = re.search(r"read '(.+)' to go on", hint)[1]  # type: ignore[index]
    assert "".join(words.split()) == "".join(text.split())
