"""Search: one query, the best pages with the passage of each that answers it best, one result per line.

A snippet that already starts with its page's title is shown as it stands, so that an evidence line can be quoted from the results word
for word (`Ondal Brin mayor Velor Tash`); the lines of a longer snippet are joined by bars. Not done here: fetching the page
(`tools/read.py`) and ranking (the corpus does it).
"""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from spadework.core.errors import ToolError
from spadework.corpus.document import Corpus, Hit
from spadework.corpus.store import content_hash
from spadework.tools.tool import Facts, Observation, Tool, ToolContext, ToolPart, register

__all__ = ["SearchConfig", "SearchTool"]


@register("search")
class SearchConfig(ToolPart):
    """Search the corpus: one query, the best pages with a passage each."""

    limit: int = Field(default=3, ge=1)
    """Number of results."""
    numbered: bool = False
    """Put `1. `, `2. ` ... before the results."""

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """The tool `search` over the corpus."""
        return [SearchTool(context.need_corpus("search"), self)]


class SearchTool:
    """The tool `search`."""

    name = "search"

    def __init__(self, corpus: Corpus, config: SearchConfig | None = None) -> None:
        self.corpus = corpus
        self.config = config or SearchConfig()
        self.facts = Facts(inline=True, version=self._version)
        query = {"type": "string", "description": "What to look for: names and words that the page would contain."}
        self.schema: dict[str, Any] = {
            "name": self.name,
            "description": f"Search the corpus. Returns the {self.config.limit} best pages, one per line, each with its best passage.",
            "parameters": {"type": "object", "properties": {"query": query}, "required": ["query"], "additionalProperties": False},
        }

    def _version(self) -> str:
        """A result depends on the pages, on how snippets are cut, and on the options."""
        return f"{content_hash(self.corpus)} {getattr(self.corpus, 'snippets', '')!r} {self.config!r}"

    async def __call__(self, *, query: str) -> Observation:
        """Search for a query.

        Raises:
            ToolError: the query is empty.
        """
        if not query.strip():
            raise ToolError("The query is empty. Write what to look for.")
        hits = self.corpus.search(query, limit=self.config.limit)
        if not hits:
            return Observation(text="No results.", tool=self.name)
        lines = [_line(hit) for hit in hits]
        if self.config.numbered:
            lines = [f"{number}. {line}" for number, line in enumerate(lines, start=1)]
        return Observation(text="\n".join(lines), tool=self.name, documents=tuple(hit.id for hit in hits))


def _line(hit: Hit) -> str:
    # The lines of a snippet are self-contained; the bar keeps the end of a fact visible when they stand in one line.
    snippet = " | ".join(" ".join(line.split()) for line in hit.snippet.splitlines() if line.strip())
    return snippet if snippet.startswith(hit.title) else f"{hit.title}: {snippet}"
