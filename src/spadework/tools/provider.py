"""The contract of a search provider: one way to answer the tool `search`, over a network or by a model.

A provider is named in a recipe by a part that is registered here; `tools/providers/` is the shelf. All answer in one shape, `Result`.
A provider that asks a web service is a `Service`: where it is, what a request looks like, and where the results stand in its JSON.
Everything else is done here once: the key, the client, who is to blame for a failure, what is shown.

Keys come from the environment and stand in a request's headers only, so no address, message, tape or recipe holds one. The gateway does
the rest: limits, retries, failover, ledger, tape.
"""

import html
import os
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
from pydantic import Field

from spadework.core.errors import BrokenError, InputError
from spadework.core.registry import Part, Registry
from spadework.tools.http import send
from spadework.tools.tool import Facts, Observation, Provider, ToolContext, TransientError, Usage

__all__ = ["Client", "ProviderPart", "Result", "Service", "ServicePart", "key_from", "plain", "providers", "register", "show"]

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_MAX_BYTES = 4_000_000
"""A larger answer is no list of search results."""
_FREE = Usage()
_SNIPPET = 1000
"""Characters of a result that are shown."""


@dataclass(frozen=True, slots=True)
class Result:
    """One search result."""

    title: str
    snippet: str
    url: str = ""
    id: str = ""
    """Of the document; the url if not given."""


class ProviderPart(Part):
    """What a recipe says about a provider: its options."""

    @abstractmethod
    def build(self, limit: int, context: ToolContext) -> Provider:
        """Make the provider.

        Args:
            limit: number of results.
            context: what it may build upon.

        Raises:
            InputError: something that it needs is missing, for example a key.
        """


providers: Registry[ProviderPart] = Registry("search provider", "spadework.tools.providers")
"""All registered providers."""
register = providers.register


def show(results: Sequence[Result], *, numbered: bool = False, usage: Usage = _FREE) -> Observation:
    """Results as an observation: one per line, title, address, passage."""
    lines = [_line(result) for result in results]
    if numbered:
        lines = [f"{number}. {line}" for number, line in enumerate(lines, start=1)]
    documents = [result.id or result.url for result in results]
    return Observation(
        text="\n".join(lines) or "No results.",
        documents=tuple(document for document in documents if document),
        links=tuple(result.url for result in results if result.url),
        usage=usage,
    )


def _line(result: Result) -> str:
    # The lines of a snippet are self-contained; the bar keeps the end of a fact visible when they stand in one line.
    snippet = " | ".join(" ".join(line.split()) for line in result.snippet.splitlines() if line.strip())[:_SNIPPET]
    title = " ".join(result.title.split())
    if result.url:
        return f"{title} ({result.url}): {snippet}"
    return snippet if snippet.startswith(title) else f"{title}: {snippet}"


def plain(markup: object) -> str:
    """The text of a title or snippet that may hold HTML, such as marks around the words that were found."""
    return html.unescape(re.sub(r"<[^<>]{0,200}>", "", markup)) if isinstance(markup, str) else ""


def key_from(variable: str, service: str) -> str:
    """A key from the environment.

    Raises:
        InputError: the variable is not set; the message names it.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError(f"{service} needs a key; set the environment variable {variable}")
    if not key.isascii() or any(character.isspace() for character in key):
        raise InputError(f"the environment variable {variable} does not hold a key: it has characters that no header can carry")
    return key


class Client:
    """Requests to one service."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        """Note where the service is.

        Args:
            url: its address.
            headers: of every request; a key stands here.

        Raises:
            InputError: the address is none.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InputError(f"'{url}' is not an address; write it with http:// or https://")
        if parsed.userinfo:
            raise InputError("an address must not hold a name or a password; recipes are saved with runs")
        self.url, self.host = url.rstrip("/"), parsed.host
        self._headers = {"User-Agent": "spadework", **(headers or {})}

    async def json(self, method: str, path: str = "", **options: Any) -> tuple[Any, int]:
        """Send a request.

        Returns:
            The JSON of the answer, and its bytes.

        Raises:
            TransientError: no answer, one that asks to come back later, or one that is no JSON.
            BrokenError: any other status than 200.
        """
        # A connection belongs to the event loop in which it was opened, so none is kept; what is slow to make is the store of certificates.
        # A proxy of the environment cannot reach this machine's own loopback. The deadline is the gateway's.
        trust_env = self.host not in _LOOPBACK
        async with httpx.AsyncClient(timeout=None, headers=self._headers, trust_env=trust_env, verify=_certificates()) as client:
            response = await send(client, method, f"{self.url}{path}", **options)
        if response.status_code != 200:
            raise BrokenError(f"{self.host}: HTTP {response.status_code}: {_excerpt(response)}")
        if len(response.content) > _MAX_BYTES:
            raise BrokenError(f"{self.host}: an answer of {len(response.content)} bytes is no list of results")
        try:
            return response.json(), len(response.content)
        except ValueError:
            raise TransientError(f"{self.host}: the answer is not JSON: {_excerpt(response)}") from None


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _excerpt(response: httpx.Response) -> str:
    return " ".join(response.text.split())[:120]


class ServicePart(ProviderPart):
    """Options of a service that costs money."""

    price: float | None = Field(default=None, ge=0)
    """Dollars per call in your plan; what the provider's module says if not given."""


class Service(ABC):
    """A web service that searches."""

    name: str
    price: float = 0.0
    """Dollars per call."""

    def __init__(self, client: Client, limit: int, *, price: float | None = None) -> None:
        """Take what is needed.

        Args:
            client: with the key among its headers.
            limit: number of results.
            price: dollars per call, if not the usual one.
        """
        self.client, self.limit = client, limit
        self.facts = Facts(host=client.host, price=self.price if price is None else price)

    @abstractmethod
    def request(self, query: str) -> dict[str, Any]:
        """What `Client.json` sends: `method`, `path`, and `params` or `json`."""

    @abstractmethod
    def results(self, answer: Any) -> list[Result]:
        """The results in an answer; a `KeyError` or `TypeError` says that it has another shape."""

    async def __call__(self, *_: Any, **arguments: Any) -> Observation:
        """Search.

        Raises:
            TransientError: the service failed in a way that may pass.
            BrokenError: it failed for good.
        """
        answer, size = await self.client.json(**self.request(arguments["query"]))
        try:
            results = self.results(answer)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise TransientError(f"{self.client.host}: the answer has another shape: {type(error).__name__}: {error}") from None
        return show(results[: self.limit], usage=Usage(bytes=size))
