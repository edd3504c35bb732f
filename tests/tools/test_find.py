import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.core.errors import ToolError
from spadework.tools.find import FindTool, find
from spadework.tools.web.page import Page
from spadework.tools.web.pages import Pages


def finder(text: str, *, max_chars: int = 1000) -> FindTool:
    pages = Pages()
    pages.visit("", "https://example.org/", Page("https://example.org/", "T", text, max_chars))
    return FindTool(pages)


def look(tool: FindTool, pattern: str, **arguments: str) -> str:
    return asyncio.run(tool(pattern=pattern, **arguments)).text


@pytest.mark.parametrize(
    ("pattern", "text", "hit"),
    [
        ("velor tash", "mayor Velor Tash since", "Velor Tash"),
        ("Café", "the CAFE\u0301 at", "CAFE\u0301"),
        ("strasse", "die Straße hier", "Straße"),
        ("velor tash", "mayor **Velor**\n| Tash |", "Velor**\n| Tash"),
        ("a.c", "abc a.c", "a.c"),
        ("ﬁne", "a fine day", "fine"),
    ],
)
def test_case_accents_and_marks_do_not_matter(pattern: str, text: str, hit: str) -> None:
    ((begin, end),) = find(pattern, [text])[0]
    assert text[begin:end] == hit


def test_hits_with_their_part_and_surroundings() -> None:
    text = "x" * 150 + " needle " + "y" * 600 + "\n" + "z" * 200 + " needle needle\n" + "w" * 300
    assert look(finder(text, max_chars=800), "Needle") == (
        "3 hits in https://example.org/:\n\n"
        f"[part 1] {'x' * 150} needle {'y' * 199}...\n\n"
        f"[part 2] ...{'z' * 199} needle needle\n{'w' * 192}..."
    )


def test_at_most_ten_hits_are_shown() -> None:
    shown = look(finder(("needle" + "-" * 500) * 12, max_chars=10_000), "needle")
    assert shown.startswith("12 hits in") and shown.count("[part 1]") == 10


def test_what_is_not_there_is_explained() -> None:
    tool = finder("# History\nlong ago\n# Sights\nnone")
    for arguments, why in (
        ({"pattern": "needle"}, "'needle' does not occur in https://example.org/. Its sections are: History, Sights."),
        ({"pattern": " * "}, "The pattern is empty. Write the words to look for."),
        (
            {"pattern": "ago", "url": "https://example.org/b"},
            "https://example.org/b has not been visited. Visit it first, or search in one of: https://example.org/.",
        ),
    ):
        with pytest.raises(ToolError) as caught:
            look(tool, **arguments)
        assert str(caught.value) == why
    assert look(tool, "ago", url="https://EXAMPLE.org#2").startswith("1 hit")
    with pytest.raises(ToolError, match="No page has been visited yet"):
        look(FindTool(Pages()), "x")


@given(st.text(min_size=1, max_size=10), st.text(max_size=30), st.text(max_size=30))
def test_what_is_there_is_found(pattern: str, before: str, after: str) -> None:
    if pattern.strip(" \t\n*_`|"):
        found = find(pattern, [f"{before} {pattern} {after}"])[0]
        assert all(0 <= begin < end <= len(before) + len(pattern) + len(after) + 2 for begin, end in found)
        assert found or not any(char.isalnum() for char in pattern)


def test_searching_a_large_page_is_quick() -> None:
    start = time.process_time()
    find("a b c d", ["a b c é " * 100_000])
    assert time.process_time() - start < 5
