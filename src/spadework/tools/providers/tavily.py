"""Tavily: search for agents, with passages of the pages (https://docs.tavily.com).

    POST https://api.tavily.com/search   Authorization: Bearer key   {"query", "max_results", "search_depth": "basic"}
    -> {"results": [{"title", "url", "content", "score"}, ...]}

A used-up plan answers 432 or 433. Not taken: the answer that a model writes, raw pages.
"""

from typing import Any, Literal

from spadework.tools.provider import Client, Result, Service, ServicePart, key_from, plain, register
from spadework.tools.tool import Provider, ToolContext

__all__ = ["Tavily", "TavilyPart"]


@register("tavily")
class TavilyPart(ServicePart):
    """Tavily, with the key in TAVILY_API_KEY."""

    url: str = "https://api.tavily.com"
    """Where it is."""
    depth: Literal["basic", "advanced"] = "basic"
    """How deep it searches; advanced costs two credits."""

    def build(self, limit: int, context: ToolContext) -> Provider:
        """Make the provider."""
        key = key_from("TAVILY_API_KEY", "tavily")
        price = self.price if self.price is not None else Tavily.price * (2 if self.depth == "advanced" else 1)
        return Tavily(Client(self.url, {"Authorization": f"Bearer {key}"}), limit, price=price, depth=self.depth)


class Tavily(Service):
    """The provider `tavily`."""

    name = "tavily"
    price = 0.008
    """Of one credit without a plan, as of November 2026; 0.005 to 0.0075 with one."""

    def __init__(self, client: Client, limit: int, *, price: float | None = None, depth: str = "basic") -> None:
        super().__init__(client, limit, price=price)
        self.depth = depth

    def request(self, query: str) -> dict[str, Any]:
        """A search."""
        return {"method": "POST", "path": "/search", "json": {"query": query, "max_results": self.limit, "search_depth": self.depth}}

    def results(self, answer: Any) -> list[Result]:
        """The results, best first."""
        return [Result(plain(row["title"]), plain(row.get("content")), str(row["url"])) for row in answer["results"]]
