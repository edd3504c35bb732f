"""Wikipedia, or any other wiki of MediaWiki, by its search (https://www.mediawiki.org/wiki/API:Search).

    GET https://en.wikipedia.org/w/api.php?action=query&list=search&srsearch=...&srlimit=...&format=json&formatversion=2
    -> {"query": {"search": [{"title", "pageid", "snippet"}, ...]}}

Snippets are HTML. Wikimedia asks clients to say who they are and answers 429 with `Retry-After` to those that hurry. An error comes with
status 200 and the key `error`. It costs nothing.
"""

from typing import Any
from urllib.parse import quote

from pydantic import Field

from spadework.core.errors import BrokenError
from spadework.tools.provider import Client, ProviderPart, Result, Service, plain, register
from spadework.tools.tool import Provider, ToolContext, TransientError

__all__ = ["Wikipedia", "WikipediaPart"]

_PASSING = {"maxlag", "ratelimited", "readonly"}


@register("wikipedia")
class WikipediaPart(ProviderPart):
    """Wikipedia's own search; needs no key."""

    url: str = "https://en.wikipedia.org/w/api.php"
    """Of the wiki's api.php."""
    contact: str = Field(pattern=r"^[\x20-\x7e]+$")
    """Mail address or page of whoever runs this; Wikimedia's policy asks for it in the user agent, and nobody else can know it."""

    def build(self, limit: int, context: ToolContext) -> Provider:
        """Make the provider."""
        return Wikipedia(Client(self.url, {"User-Agent": f"spadework ({self.contact})"}), limit)


class Wikipedia(Service):
    """The provider `wikipedia`."""

    name = "wikipedia"

    def request(self, query: str) -> dict[str, Any]:
        """A full-text search of articles."""
        params = {"action": "query", "list": "search", "srsearch": query, "srlimit": self.limit, "format": "json", "formatversion": 2}
        return {"method": "GET", "params": params}

    def results(self, answer: Any) -> list[Result]:
        """The articles; their addresses are made from the titles."""
        if "error" in answer:
            kind = TransientError if answer["error"].get("code") in _PASSING else BrokenError
            raise kind(f"{self.client.host}: {str(answer['error'].get('info', answer['error']))[:200]}")
        root = self.client.url.partition("/w/")[0]
        return [
            Result(row["title"], plain(row.get("snippet")), f"{root}/wiki/{quote(row['title'].replace(' ', '_'), safe='/:()')}")
            for row in answer["query"]["search"]
        ]
