"""Results stand one per line and can be quoted."""

import asyncio

import pytest

from spadework.core.errors import ToolError
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.tools.search import SearchConfig, SearchTool

CORPUS = MemoryCorpus(
    [
        Document(id="d1", title="Ondal Brin", text="Ondal Brin is a city.\nOndal Brin mayor Velor Tash\nOndal Brin river Nesh"),
        Document(id="d2", title="Rivers", text="The Nesh passes the mayor of Ondal."),
        Document(id="d3", title="Stones", text="Granite."),
    ]
)


def search(query: str, **options: object) -> tuple[str, tuple[str, ...]]:
    observation = asyncio.run(SearchTool(CORPUS, SearchConfig(**options))(query=query))  # type: ignore[arg-type]
    return observation.text, observation.documents


def test_a_snippet_that_names_its_page_stands_alone_and_others_get_the_title() -> None:
    text, documents = search("Ondal mayor")
    # The first snippet has three matching lines, joined by bars; the second does not start with its title.
    first, second = text.split("\n")
    assert first.startswith("Ondal Brin ") and "Ondal Brin mayor Velor Tash" in first.split(" | ")
    assert second == "Rivers: The Nesh passes the mayor of Ondal."
    assert documents == ("d1", "d2")


def test_results_can_be_limited_and_numbered() -> None:
    text, documents = search("Ondal mayor", limit=1, numbered=True)
    assert text.startswith("1. Ondal Brin ") and "\n" not in text
    assert documents == ("d1",)


def test_no_result_and_no_query() -> None:
    assert search("zebra") == ("No results.", ())
    with pytest.raises(ToolError, match="empty"):
        search("  ")
