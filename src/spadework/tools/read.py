"""Read: the text of one page, in parts.

A long page is cut at line ends into parts of at most `max_chars` characters, and the last line of a part says how to read the next one:
`Title#2`. The part stands in the one argument, so every protocol that can pass a title can also read on.
"""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from spadework.core.errors import ToolError
from spadework.corpus.document import Corpus, Document
from spadework.corpus.store import content_hash
from spadework.tools.tool import Facts, Observation, Tool, ToolContext, ToolPart, register

__all__ = ["ReadConfig", "ReadTool", "parts"]


@register("read")
class ReadConfig(ToolPart):
    """Read a page of the corpus, in parts."""

    max_chars: int = Field(default=4000, ge=100)
    """Characters per part. Keep it below the gateway's `max_chars`, which cuts without a way to go on."""

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """The tool `read` over the corpus."""
        return [ReadTool(context.need_corpus("read"), self)]


class ReadTool:
    """The tool `read`."""

    name = "read"

    def __init__(self, corpus: Corpus, config: ReadConfig | None = None) -> None:
        self.corpus = corpus
        self.config = config or ReadConfig()
        self.facts = Facts(inline=True, version=lambda: f"{content_hash(corpus)} {self.config!r}")
        title = {"type": "string", "description": "Title or id of a page; `Title#2` is its second part."}
        self.schema: dict[str, Any] = {
            "name": self.name,
            "description": "Read a page of the corpus.",
            "parameters": {"type": "object", "properties": {"title": title}, "required": ["title"], "additionalProperties": False},
        }

    async def __call__(self, *, title: str) -> Observation:
        """Show one part of a page.

        Raises:
            ToolError: there is no such page, or it has no such part.
        """
        document, number = self._find(title.strip())
        texts = parts(document.text, self.config.max_chars)
        if not 1 <= number <= len(texts):
            raise ToolError(f"'{document.title}' has {len(texts)} part{'s' if len(texts) > 1 else ''}; there is no part {number}.")
        text = texts[number - 1]
        if number < len(texts):
            text += f"\n[part {number} of {len(texts)}; read '{document.title}#{number + 1}' to go on]"
        return Observation(text=text, tool=self.name, documents=(document.id,))

    def _find(self, title: str) -> tuple[Document, int]:
        # A title may itself end in a number sign and digits, so the whole title comes first.
        if document := self.corpus.get(title):
            return document, 1
        part = re.fullmatch(r"(.+)#(\d{1,9})", title)
        if part and (document := self.corpus.get(part[1].strip())):
            return document, int(part[2])
        raise ToolError(f"There is no page '{title}'. Read pages by the titles that search shows.")


def parts(text: str, max_chars: int, *, marks: Sequence[str] = ("\n", " ")) -> list[str]:
    """Cut a text into parts.

    Args:
        text: is stripped.
        max_chars: most characters of a part.
        marks: where to cut, best first: at the last such place in the second half of a part, and anywhere if there is none.
    """
    found = []
    rest = text.strip()
    while len(rest) > max_chars:
        half = max_chars // 2
        cut = next((cut for mark in marks if (cut := rest.rfind(mark, half, max_chars + 1)) >= 0), max_chars)
        found.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*found, rest]
