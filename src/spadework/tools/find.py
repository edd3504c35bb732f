"""Find: where a text stands in a page that the trajectory has visited.

Case, accents and the marks of Markdown between words do not matter; a hit is shown with its surroundings and the number of its part, so
that it can be read in full (`visit 'URL#3'`). Not done here: fetching (`visit.py` makes this tool, and they share the visited pages).
"""

import re
import unicodedata
from typing import Any

from spadework.core.errors import ToolError
from spadework.tools.tool import Facts, Observation, current_label
from spadework.tools.web.address import parse_url
from spadework.tools.web.page import Page
from spadework.tools.web.pages import Pages

__all__ = ["FindTool", "find"]

_MAX_HITS = 10
_CONTEXT = 200
"""Characters that are shown on each side of a hit."""
_BETWEEN = r"[\s*_`|]+"


class FindTool:
    """The tool `find`."""

    name = "find"

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.facts = Facts(state="pages", version=f"1 {_MAX_HITS} {_CONTEXT}")
        pattern = {"type": "string", "description": "Words or a phrase; case and accents are ignored."}
        url = {"type": ["string", "null"], "description": "A page that was visited; the last one if not given."}
        self.schema: dict[str, Any] = {
            "name": self.name,
            "description": "Find text in a page that was visited before.",
            "parameters": {
                "type": "object",
                "properties": {"pattern": pattern, "url": url},
                "required": ["pattern"],
                "additionalProperties": False,
            },
        }

    async def __call__(self, *, pattern: str, url: str | None = None) -> Observation:
        """Show the first hits with their surroundings.

        Raises:
            ToolError: the page has not been visited, or the text does not occur in it.
        """
        with self.pages.call(current_label()):
            page = self._page(url)
            if not pattern.strip(" \t\n*_`|"):
                raise ToolError("The pattern is empty. Write the words to look for.")
            hits = find(pattern, [page.text])[0]
            if not hits:
                raise ToolError(f"'{pattern}' does not occur in {page.url}. {_outline(page)}")
            return Observation(text=_shown(page, pattern), tool=self.name, documents=(page.url,))

    def _page(self, url: str | None) -> Page:
        label = current_label()
        page = self.pages.last(label) if url is None else self.pages.get(label, parse_url(url.partition("#")[0]).url)
        if page is not None:
            return page
        if visited := self.pages.urls(label):
            raise ToolError(f"{url} has not been visited. Visit it first, or search in one of: {', '.join(visited[-10:])}.")
        raise ToolError("No page has been visited yet. Visit one first, then search in it.")


def find(pattern: str, texts: list[str]) -> list[list[tuple[int, int]]]:
    """Where a phrase stands in each text: begin and end of every hit, in characters of that text."""
    words = [re.escape(word) for word in re.split(_BETWEEN, _folded(pattern)[0]) if word]
    search = re.compile(_BETWEEN.join(words))
    found = []
    for text in texts:
        folded, places = _folded(text)
        places = [*places, len(text)]
        # An accent that was left out belongs to the letter before it.
        found.append([(places[m.start()], max(places[m.end() - 1] + 1, places[m.end()])) for m in search.finditer(folded)])
    return found


def _folded(text: str) -> tuple[str, "range | list[int]"]:
    """The text without case and accents, and for every character of it the place that it comes from."""
    if text.isascii():
        return text.lower(), range(len(text))
    chars: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        for piece in unicodedata.normalize("NFKD", char).casefold():
            if not unicodedata.combining(piece):
                chars.append(piece)
                places.append(place)
    return "".join(chars), places


def _shown(page: Page, pattern: str) -> str:
    hits: list[str] = []
    count = 0
    for number, (text, found) in enumerate(zip(page.parts, find(pattern, page.parts), strict=True), start=1):
        count += len(found)
        until = 0
        for begin, end in found:
            # A hit that stands in what is shown already needs no second showing.
            if end > until and len(hits) < _MAX_HITS:
                start, until = max(0, begin - _CONTEXT), end + _CONTEXT
                before, after = "..." if start else "", "..." if until < len(text) else ""
                hits.append(f"[part {number}] {before}{text[start:until].strip()}{after}")
    heads = "1 hit" if count == 1 else f"{count} hits"
    return "\n\n".join([f"{heads} in {page.url}:", *hits])


def _outline(page: Page) -> str:
    names = ", ".join(heading for heading, _ in page.outline[:20])
    return f"Its sections are: {names}." if names else "Try fewer or other words."
