"""Which addresses may be fetched: the wall against server-side request forgery.

A page, a search result or the policy itself can name any address, and this process stands inside a network that outsiders cannot reach.
Two questions are asked of every address, of the first one and of every redirect and every request of a rendered page:

1. `parse_url`: is it a plain `http(s)://host[:port]/path` and nothing that two programs could read differently?
2. `Wall.addresses`: is every address that its name resolves to a public one? The caller connects to an address of this list and never
   resolves the name again, so a name that answers differently the second time (DNS rebinding) gains nothing.

Public is what IANA's registries leave: IPv4 less the special-purpose blocks (RFC 6890), IPv6 only from the global unicast block 2000::/3,
less its special-purpose blocks. IPv6 forms that carry an IPv4 address are as good as that one (mapped, NAT64), or refused (6to4, Teredo).
Not done here: what a domain may be (`policy.py`), the request itself (`fetch.py`).
"""

import asyncio
import re
import socket
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

import idna

from spadework.core.errors import ConfigError, ToolError
from spadework.tools.tool import TransientError

__all__ = ["Address", "Resolve", "Target", "Wall", "forbidden", "parse_url", "resolve"]

Address: TypeAlias = IPv4Address | IPv6Address
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to addresses as text, in the order in which they should be tried."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_URL = 2048
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PRIVATE_SUFFIXES = frozenset(
    [
        *("localhost", "local", "localdomain", "internal", "intranet", "private", "lan", "home", "corp"),
        *("mail", "domain", "host", "test", "invalid", "onion", "arpa"),
    ]
)
"""Last labels that are no public domain: RFC 6761, RFC 6762, RFC 7686, RFC 8375, ICANN's name-collision list, and what routers use."""

_SPECIAL_V4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches this machine
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, and a cloud's metadata at 100.100.100.200
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a public number that serves metadata inside Azure
        "169.254.0.0/16",  # link-local, and most clouds' metadata at 169.254.169.254
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, and a cloud's metadata at 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed address whose parts mean the same to every program."""

    scheme: str
    host: str
    """A name in ASCII without a final dot, or an address as text without brackets."""
    port: int
    url: str
    """Written anew from the parts; without user, password and fragment."""
    ip: Address | None = None
    """The host as an address, where it is one."""

    @property
    def netloc(self) -> str:
        """Host and port as a `Host` header has them."""
        host = f"[{self.host}]" if isinstance(self.ip, IPv6Address) else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(text: str) -> Target:
    """Take an address apart, and refuse whatever could be read in two ways.

    Raises:
        ToolError: it is not a plain http or https address; the text tells the model what would be right.
    """
    url = text.strip(" \t\r\n")
    if len(url) > _MAX_URL:
        raise ToolError(f"The address has {len(url)} characters; at most {_MAX_URL} are taken.")
    if any(char.isspace() or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn") for char in url) or "\\" in url:
        raise ToolError(f"{url!r} has a space, a backslash or an invisible character in it. Write a plain address, percent-encoded.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ToolError(f"'{url}' is not an address: {error}.") from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise ToolError(f"'{url}' is not a web address. Write it whole, beginning with https:// or http://.")
    if "@" in parts.netloc:
        raise ToolError(f"'{url}' has a user or a password in it. Write the address without them.")
    if port == 0:
        raise ToolError(f"'{url}': there is no port 0.")
    name, ip = _read_ip(host, url) if "[" in parts.netloc else _read_host(host, url)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]|{}")
    netloc = Target(scheme, name, port or _DEFAULT_PORTS[scheme], "", ip).netloc
    return Target(scheme, name, port or _DEFAULT_PORTS[scheme], urlunsplit((scheme, netloc, path, query, "")), ip)


def _read_ip(host: str, url: str) -> tuple[str, Address]:
    try:
        if "%" in host:  # a zone names an interface of this machine
            raise ValueError(host)
        ip = IPv6Address(host)
    except ValueError:
        raise ToolError(f"'{url}': '{host}' is not an IPv6 address.") from None
    return str(ip), ip


def _read_host(host: str, url: str) -> tuple[str, Address | None]:
    name = host
    if not name.isascii():
        # As browsers do: full-width digits and ideographic dots become what they look like before anything is decided.
        try:
            name = idna.encode(unicodedata.normalize("NFKC", name), uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            raise ToolError(f"'{url}': '{host}' is not the name of a web site.") from None
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if re.fullmatch(r"\d+|0x[0-9a-f]*", labels[-1]):
        # A name that ends in a number is an IPv4 address (WHATWG URL), also in octal, in hexadecimal and with fewer than four parts.
        try:
            ip = IPv4Address(socket.inet_aton(name))
        except (OSError, ValueError):
            raise ToolError(f"'{url}': '{host}' is not an IPv4 address.") from None
        return str(ip), ip
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ToolError(f"'{url}': '{host}' is not the name of a web site.")
    return name, None


def forbidden(ip: Address) -> bool:
    """Whether an address is not on the public internet."""
    if isinstance(ip, IPv4Address):
        return any(ip in block for block in _SPECIAL_V4)
    if ip.ipv4_mapped is not None:
        return forbidden(ip.ipv4_mapped)
    if ip in _NAT64:
        return forbidden(IPv4Address(int(ip) & 0xFFFFFFFF))
    return ip.scope_id is not None or ip not in _GLOBAL_V6 or any(ip in block for block in _SPECIAL_V6)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, from this machine's resolver.

    Raises:
        ToolError: there is no such name.
        TransientError: the resolver does not answer.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise TransientError(f"{host}: the name could not be resolved: {error.strerror}") from error
        raise ToolError(f"There is no web site '{host}'.") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Wall:
    """Says which addresses may be connected to."""

    def __init__(self, allow_private: Sequence[str] = (), ports: Sequence[int] = (), *, resolve: Resolve = resolve) -> None:
        """Build the wall.

        Args:
            allow_private: exceptions: addresses, networks (`10.1.0.0/16`), or an address with one port (`127.0.0.1:8080`, `[::1]:8080`).
            ports: allowed ones at public addresses.
            resolve: finds the addresses of a name.

        Raises:
            ConfigError: an exception is none of these.
        """
        self._exceptions = [_exception(text) for text in allow_private]
        self._ports = frozenset(ports)
        self._resolve = resolve

    async def addresses(self, target: Target) -> list[Address]:
        """The addresses that may be connected to, in the order in which they should be tried. One bad address spoils them all.

        Raises:
            ToolError: the name is not a public one, does not exist, an address of it is not public, or the port is not allowed.
            TransientError: the resolver does not answer.
        """
        if target.ip is None and ("." not in target.host or target.host.rpartition(".")[2] in _PRIVATE_SUFFIXES):
            raise ToolError(f"'{target.host}' is not a public web site, and only public ones may be visited.")
        found = [target.ip] if target.ip is not None else [ip_address(text) for text in await self._resolve(target.host, target.port)]
        if not found:
            raise ToolError(f"There is no web site '{target.host}'.")
        for ip in found:
            if self._excepted(ip, target.port):
                continue
            if forbidden(ip):
                raise ToolError(f"'{target.host}' is not on the public internet, and only public web sites may be visited.")
            if target.port not in self._ports:
                raise ToolError(f"Port {target.port} may not be visited; use {' or '.join(map(str, sorted(self._ports)))}.")
        return found

    def _excepted(self, ip: Address, port: int) -> bool:
        return any(ip in network and only in (None, port) for network, only in self._exceptions if network.version == ip.version)


def _exception(text: str) -> tuple[IPv4Network | IPv6Network, int | None]:
    parts = re.fullmatch(r"\[([^\]]+)\]:(\d{1,5})|([\d.]+):(\d{1,5})", text)
    host, port = (parts[1] or parts[3], int(parts[2] or parts[4])) if parts else (text, None)
    try:
        return ip_network(host), port
    except ValueError as error:
        raise ConfigError(f"allow_private: '{text}' is no address, network or ADDRESS:PORT ({error})") from None
