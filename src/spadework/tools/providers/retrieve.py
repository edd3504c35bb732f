"""Search-R1's retrieval service as a provider (arXiv 2503.09516): what its trainer, verl and others ask.

    POST URL/retrieve   {"queries": [...], "topk", "return_scores": true}
    -> {"result": [[{"document": {"id"?, "contents", "title"?}, "score"}, ...], ...]}

`contents` is the title, often in quotes, a line end, and the passage. Without scores the documents stand in the lists by themselves; both
shapes are read. `spadework search serve` is the other end.
"""

from typing import Any

from spadework.tools.provider import Client, ProviderPart, Result, Service, register
from spadework.tools.tool import Provider, ToolContext

__all__ = ["Retrieve", "RetrievePart"]


@register("retrieve")
class RetrievePart(ProviderPart):
    """A server with Search-R1's `POST /retrieve`."""

    url: str
    """Of the server, without `/retrieve`, for example http://127.0.0.1:8000."""

    def build(self, limit: int, context: ToolContext) -> Provider:
        """Make the provider."""
        return Retrieve(Client(self.url.rstrip("/").removesuffix("/retrieve")), limit)


class Retrieve(Service):
    """The provider `retrieve`."""

    name = "retrieve"

    def request(self, query: str) -> dict[str, Any]:
        """One query."""
        return {"method": "POST", "path": "/retrieve", "json": {"queries": [query], "topk": self.limit, "return_scores": True}}

    def results(self, answer: Any) -> list[Result]:
        """The passages of the only query."""
        (rows,) = answer["result"]
        return [_result(row.get("document", row)) for row in rows]


def _result(document: dict[str, Any]) -> Result:
    first, _, rest = str(document["contents"]).partition("\n")
    title = str(document.get("title") or first.strip().strip('"'))
    # A title that is a field of its own may stand in the contents too.
    passage = rest if first.strip().strip('"') == title else document["contents"]
    return Result(title, passage, id=str(document.get("id") or title))
