"""Brave: an index of its own (https://api-dashboard.search.brave.com).

    GET https://api.search.brave.com/res/v1/web/search?q=...&count=...   X-Subscription-Token: key
    -> {"web": {"results": [{"title", "url", "description"}, ...]}}

Words that were found are marked as HTML in descriptions. Without results there is no `web`. Not taken: news, videos, summaries.
"""

from typing import Any

from spadework.tools.provider import Client, Result, Service, ServicePart, key_from, plain, register
from spadework.tools.tool import Provider, ToolContext

__all__ = ["Brave", "BravePart"]

_MOST = 20
"""Results of one request."""


@register("brave")
class BravePart(ServicePart):
    """Brave Search, with the key in BRAVE_API_KEY."""

    url: str = "https://api.search.brave.com"
    """Where it is."""

    def build(self, limit: int, context: ToolContext) -> Provider:
        """Make the provider."""
        return Brave(Client(self.url, {"X-Subscription-Token": key_from("BRAVE_API_KEY", "brave")}), limit, price=self.price)


class Brave(Service):
    """The provider `brave`."""

    name = "brave"
    price = 0.005
    """$5.00 per 1,000 requests, as of November 2026."""

    def request(self, query: str) -> dict[str, Any]:
        """A search."""
        return {"method": "GET", "path": "/res/v1/web/search", "params": {"q": query, "count": min(self.limit, _MOST)}}

    def results(self, answer: Any) -> list[Result]:
        """The web results."""
        rows = answer.get("web", {}).get("results", [])
        return [Result(plain(row["title"]), plain(row.get("description")), str(row["url"])) for row in rows]
