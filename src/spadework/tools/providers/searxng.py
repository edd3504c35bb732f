"""SearXNG: a metasearch engine that anyone can run (https://docs.searxng.org/dev/search_api.html).

    GET URL/search?q=...&format=json
    -> {"results": [{"title", "url", "content"}, ...]}

An instance answers 403 unless its settings list `json` among `search.formats`; most public ones do not. It costs nothing.
"""

from typing import Any

from spadework.tools.provider import Client, ProviderPart, Result, Service, plain, register
from spadework.tools.tool import Provider, ToolContext

__all__ = ["SearXNG", "SearXNGPart"]


@register("searxng")
class SearXNGPart(ProviderPart):
    """A SearXNG instance; needs no key."""

    url: str
    """Of the instance, for example http://127.0.0.1:8080."""
    language: str = "en"
    """Code of the language, or `all`."""

    def build(self, limit: int, context: ToolContext) -> Provider:
        """Make the provider."""
        return SearXNG(Client(self.url), limit, self.language)


class SearXNG(Service):
    """The provider `searxng`."""

    name = "searxng"

    def __init__(self, client: Client, limit: int, language: str = "en") -> None:
        super().__init__(client, limit)
        self.language = language

    def request(self, query: str) -> dict[str, Any]:
        """A search."""
        return {"method": "GET", "path": "/search", "params": {"q": query, "format": "json", "language": self.language}}

    def results(self, answer: Any) -> list[Result]:
        """The results of all engines, in the instance's order."""
        return [Result(plain(row["title"]), plain(row.get("content")), str(row["url"])) for row in answer["results"]]
