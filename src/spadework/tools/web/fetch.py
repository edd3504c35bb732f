"""One web address over HTTP, with every hop checked and everything bounded.

A hop: the address is parsed (`address.py`), its domain checked (`policy.py`), robots.txt asked, its name resolved once and all its
addresses checked, and one of them connected to, with the name in `Host` and in TLS as usual. A redirect is a new hop. Nothing is
remembered between requests: no cookies, no open connections (one that is kept could be used for another name at the same address, whose
certificate nobody has checked), no proxies or passwords from the environment. Only GET is sent.

Bounded: redirects, seconds for all hops together, and the bytes of a body after decompression, so a small file that unpacks to gigabytes
costs no more than its share. Compression other than gzip and deflate is not asked for and not taken.
"""

import asyncio
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv6Address
from urllib.parse import urljoin, urlsplit

import httpx
from pydantic import Field

from spadework.core.config import Config
from spadework.core.errors import ToolError
from spadework.tools.http import TRANSIENT, retry_after
from spadework.tools.tool import TransientError
from spadework.tools.web.address import Address, Resolve, Target, Wall, parse_url, resolve
from spadework.tools.web.policy import Domains
from spadework.tools.web.robots import Robots

__all__ = ["FetchConfig", "Fetched", "Fetcher"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONNECT_SECONDS = 5.0
"""For one address of a name; the next one is tried then."""
_ROBOTS_SECONDS, _ROBOTS_SITES, _ROBOTS_BYTES = 24 * 3600.0, 1_000, 500 * 1024
_SILENT_SITES = 4
"""So many sites in a row without any answer mean that our own network is down."""


class FetchConfig(Config):
    """What may be fetched, and how much of it."""

    allow: tuple[str, ...] = ()
    """Domains, also with the beginning of a path, and nothing else; all if empty."""
    block: tuple[str, ...] = ()
    """Domains, also with the beginning of a path, that are not visited."""
    block_lists: tuple[str, ...] = ("benchmarks",)
    """Lists that come with the package (`tools/web/policy.py`); `benchmarks` is where the answers of benchmarks stand."""
    allow_private: tuple[str, ...] = ()
    """Exceptions from the rule that only public addresses are visited: addresses, networks, or ADDRESS:PORT."""
    ports: tuple[int, ...] = (80, 443, 8080, 8443)
    """Ports of public addresses."""
    robots: bool = True
    """Obey robots.txt."""
    user_agent: str = Field(default="spadework", pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$")
    """Sent with every request; the part before a slash is the name that robots.txt is asked for."""
    max_bytes: int = Field(default=10_000_000, ge=1_000)
    """Of a body, unpacked. Text is cut there, anything else is refused."""
    max_redirects: int = Field(default=5, ge=0)
    timeout: float = Field(default=20.0, gt=0)
    """Seconds for an address with all its redirects."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an address holds."""

    url: str
    """After the last redirect."""
    status: int
    headers: dict[str, str]
    body: bytes
    """Unpacked."""
    complete: bool = True
    """False where the body was cut at `max_bytes`."""
    received: int = 0
    """Bytes of all bodies over the network."""

    @property
    def mime(self) -> str:
        """The declared type in lower case, without parameters; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Fetcher:
    """Fetches addresses for everybody; keeps nothing but robots.txt files."""

    def __init__(self, config: FetchConfig | None = None, *, resolve: Resolve = resolve) -> None:
        """Build the wall and the lists.

        Args:
            config: what may be fetched.
            resolve: finds the addresses of a name.

        Raises:
            ConfigError: an entry of a list cannot be read.
        """
        self.config = config or FetchConfig()
        self._wall = Wall(self.config.allow_private, self.config.ports, resolve=resolve)
        self._domains = Domains(self.config.allow, self.config.block, self.config.block_lists)
        self._robots: OrderedDict[str, tuple[float, Robots]] = OrderedDict()
        self._silent: set[str] = set()

    @cached_property
    def _transport(self) -> httpx.AsyncHTTPTransport:
        # Not a client: that would keep cookies, and take a redirect's address apart before it is checked.
        return httpx.AsyncHTTPTransport(trust_env=False, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))

    @property
    def offline(self) -> bool:
        """Whether several sites in a row have not answered at all, which is our own network's fault rather than theirs."""
        return len(self._silent) >= _SILENT_SITES

    async def get(self, url: str, *, accept: str = "*/*", robots: bool = True) -> Fetched:
        """Fetch an address.

        Args:
            url: as the model wrote it.
            accept: content types that are asked for.
            robots: False for what a page is made of; whether it is obeyed for pages is the config's.

        Raises:
            ToolError: the address, or one that it redirects to, may not be fetched, or there is no such site.
            TransientError: no answer, or one that asks for another attempt (429, 5xx).
        """
        target = parse_url(url)
        try:
            async with asyncio.timeout(self.config.timeout):
                return await self._follow(target, accept, robots=robots and self.config.robots)
        except TimeoutError as error:
            self._silent.add(target.host)
            raise TransientError(f"{target.host}: no whole answer within {self.config.timeout:g} s") from error

    async def close(self) -> None:
        """Close what is open."""
        if "_transport" in self.__dict__:
            await self._transport.aclose()

    async def _follow(self, target: Target, accept: str, *, robots: bool) -> Fetched:
        received = 0
        for _ in range(self.config.max_redirects + 1):
            self._domains.check(target)
            if robots and not (await self._rules(target)).allows(target.url):
                raise ToolError(f"The robots.txt of '{target.host}' asks not to visit {target.url}. Use another source.")
            fetched = await self._hop(target, accept, self.config.max_bytes)
            received += fetched.received
            location = fetched.headers.get("location")
            if fetched.status not in _REDIRECTS or not location:
                return Fetched(fetched.url, fetched.status, fetched.headers, fetched.body, fetched.complete, received)
            target = parse_url(urljoin(target.url, location))
        raise ToolError(f"More than {self.config.max_redirects} redirects, the last one to {target.url}. Use another source.")

    async def _rules(self, target: Target) -> Robots:
        site = f"{target.scheme}://{target.netloc}"
        expires, rules = self._robots.get(site, (0.0, Robots()))
        if expires > time.monotonic():
            return rules
        rules = Robots()
        place = parse_url(f"{site}/robots.txt")
        for _ in range(self.config.max_redirects + 1):
            try:
                fetched = await self._hop(place, "text/plain", _ROBOTS_BYTES)
                if fetched.status in _REDIRECTS and "location" in fetched.headers:
                    place = parse_url(urljoin(place.url, fetched.headers["location"]))
                    continue
            except ToolError:
                if urlsplit(place.url).netloc == target.netloc:
                    raise
                # Sent to where nobody may go, the file is as good as missing.
                break
            if fetched.status == 200:
                rules = Robots.parse(fetched.body.decode("utf-8", "replace"), self.config.user_agent)
            break
        self._robots[site] = (time.monotonic() + _ROBOTS_SECONDS, rules)
        while len(self._robots) > _ROBOTS_SITES:
            self._robots.popitem(last=False)
        return rules

    async def _hop(self, target: Target, accept: str, max_bytes: int) -> Fetched:
        addresses = await self._wall.addresses(target)
        for number, ip in enumerate(addresses, start=1):
            try:
                fetched = await self._request(target, ip, accept, max_bytes)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if number < len(addresses):
                    continue
                self._silent.add(target.host)
                raise TransientError(f"{target.host}: {type(error).__name__}: {error}".rstrip(": ")) from error
            except httpx.TransportError as error:
                self._silent.add(target.host)
                raise TransientError(f"{target.host}: {type(error).__name__}: {error}".rstrip(": ")) from error
            self._silent.clear()
            if fetched.status in TRANSIENT:
                raise TransientError(f"{target.host}: HTTP {fetched.status}", retry_after=retry_after(fetched.headers.get("retry-after")))
            return fetched
        raise AssertionError("a name has at least one address")

    async def _request(self, target: Target, ip: Address, accept: str, max_bytes: int) -> Fetched:
        parts = urlsplit(target.url)
        address = f"[{ip}]" if isinstance(ip, IPv6Address) else str(ip)
        config = self.config
        name = {} if target.ip is not None else {"sni_hostname": target.host}
        request = httpx.Request(
            "GET",
            parts._replace(netloc=f"{address}:{target.port}").geturl(),
            headers={"Host": target.netloc, "User-Agent": config.user_agent, "Accept": accept, "Accept-Encoding": "gzip, deflate"},
            extensions={"timeout": httpx.Timeout(config.timeout, connect=min(_CONNECT_SECONDS, config.timeout)).as_dict(), **name},
        )
        response = await self._transport.handle_async_request(request)
        try:
            body, complete, received = await _read(response, target, max_bytes)
        finally:
            await response.aclose()
        return Fetched(target.url, response.status_code, dict(response.headers), body, complete, received)


async def _read(response: httpx.Response, target: Target, max_bytes: int) -> tuple[bytes, bool, int]:
    """The body, unpacked as far as it is wanted; whether that is all; and how many bytes came over the network."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip", "deflate", ""):
        raise ToolError(f"{target.url} is compressed as '{coding[:40]}', which can not be read.")
    # 32 + 15: gzip or zlib, whichever the first bytes say.
    inflate = zlib.decompressobj(wbits=47) if coding not in ("identity", "") else None
    body, received = bytearray(), 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        room = max_bytes + 1 - len(body)
        if inflate is None:
            body += chunk[:room]
        else:
            try:
                body += inflate.decompress(chunk, room)
            except zlib.error as error:
                raise ToolError(f"{target.url} is damaged: {error}.") from None
        if len(body) > max_bytes or received > max_bytes:
            return bytes(body[:max_bytes]), False, received
        if inflate is not None and inflate.eof:
            break
    return bytes(body), inflate is None or inflate.eof, received
