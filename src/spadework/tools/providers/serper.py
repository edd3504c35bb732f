"""Serper: results of Google as JSON (https://serper.dev).

    POST https://google.serper.dev/search   X-API-KEY: key   {"q", "num"}
    -> {"organic": [{"title", "link", "snippet"}, ...]}

Not taken: answer boxes, the knowledge graph, other verticals.
"""

from typing import Any

from spadework.tools.provider import Client, Result, Service, ServicePart, key_from, plain, register
from spadework.tools.tool import Provider, ToolContext

__all__ = ["Serper", "SerperPart"]


@register("serper")
class SerperPart(ServicePart):
    """Serper, with the key in SERPER_API_KEY."""

    url: str = "https://google.serper.dev"
    """Where it is."""

    def build(self, limit: int, context: ToolContext) -> Provider:
        """Make the provider."""
        return Serper(Client(self.url, {"X-API-KEY": key_from("SERPER_API_KEY", "serper")}), limit, price=self.price)


class Serper(Service):
    """The provider `serper`."""

    name = "serper"
    price = 0.001
    """$1.00 per 1,000 queries in the smallest package, as of August 2026; up to $0.30 with size. More than ten results cost two credits."""

    def request(self, query: str) -> dict[str, Any]:
        """A search."""
        return {"method": "POST", "path": "/search", "json": {"q": query, "num": self.limit}}

    def results(self, answer: Any) -> list[Result]:
        """The organic results."""
        return [Result(plain(row["title"]), plain(row.get("snippet")), str(row["link"])) for row in answer.get("organic", [])]
