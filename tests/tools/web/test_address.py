"""Attempts to reach this machine and its network from the outside: each is refused, and the server that counts sees no connection."""

# ruff: noqa: RUF001 -- look-alikes are what is tested

import asyncio
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.core.errors import ConfigError, ToolError
from spadework.tools.tool import TransientError
from spadework.tools.web.address import Wall, forbidden, parse_url, resolve
from spadework.tools.web.fetch import FetchConfig, Fetcher

NAMES = {
    "loopback.example.com": ["127.0.0.1"],
    "mixed.example.com": ["93.184.215.14", "127.0.0.1"],
    "mapped.example.com": ["::ffff:127.0.0.1"],
    "six.example.com": ["::1"],
    "ten.example.com": ["10.0.0.1"],
    "metadata.example.com": ["169.254.169.254"],
    "zone.example.com": ["fe80::1%lo"],
    "nothing.example.com": [],
    "127.0.0.1.nip.example.com": ["127.0.0.1"],
}


async def names(host: str, port: int) -> Sequence[str]:
    return NAMES[host] if host in NAMES else await resolve(host, port)


ATTEMPTS = {
    # the plain address, and every other way to write it
    "dotted": "http://127.0.0.1:{p}/",
    "other loopback address": "http://127.0.0.2:{p}/",
    "far loopback address": "http://127.1.1.1:{p}/",
    "two parts": "http://127.1:{p}/",
    "three parts": "http://127.0.1:{p}/",
    "decimal": "http://2130706433:{p}/",
    "hexadecimal": "http://0x7f000001:{p}/",
    "hexadecimal, capital": "http://0X7F000001:{p}/",
    "hexadecimal parts": "http://0x7f.0x0.0x0.0x1:{p}/",
    "octal": "http://017700000001:{p}/",
    "octal parts": "http://0177.0.0.01:{p}/",
    "mixed bases": "http://0x7f.0.0.01:{p}/",
    "trailing dot": "http://127.0.0.1.:{p}/",
    "two trailing dots": "http://127.0.0.1..:{p}/",
    "unspecified": "http://0.0.0.0:{p}/",
    "unspecified, short": "http://0:{p}/",
    "overflowing decimal": "http://4294967297:{p}/",
    "overflowing part": "http://383.0.0.1:{p}/",
    "percent-encoded": "http://127%2e0%2e0%2e1:{p}/",
    "percent-encoded name": "http://%6cocalhost:{p}/",
    "full-width digits": "http://１２７.０.０.１:{p}/",
    "circled digits": "http://①②⑦.⓪.⓪.①:{p}/",
    "ideographic dots": "http://127。0。0。1:{p}/",
    "half-width dots": "http://127｡0｡0｡1:{p}/",
    "full-width name": "http://ｌｏｃａｌｈｏｓｔ:{p}/",
    "soft hyphen": "http://local\u00adhost:{p}/",
    "zero-width space": "http://127.0.0\u200b.1:{p}/",
    # IPv6
    "IPv6 loopback": "http://[::1]:{p}/",
    "IPv6 loopback, long": "http://[0:0:0:0:0:0:0:1]:{p}/",
    "IPv6 unspecified": "http://[::]:{p}/",
    "IPv4-mapped": "http://[::ffff:127.0.0.1]:{p}/",
    "IPv4-mapped, hexadecimal": "http://[::ffff:7f00:1]:{p}/",
    "IPv4-compatible": "http://[::127.0.0.1]:{p}/",
    "NAT64": "http://[64:ff9b::7f00:1]:{p}/",
    "local NAT64": "http://[64:ff9b:1::7f00:1]:{p}/",
    "6to4": "http://[2002:7f00:1::]:{p}/",
    "Teredo": "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:{p}/",
    "ISATAP": "http://[fe80::5efe:7f00:1]:{p}/",
    "link-local with zone": "http://[fe80::1%25lo]:{p}/",
    "unique local": "http://[fd00:ec2::254]:{p}/",
    "IPv6 multicast": "http://[ff02::1]:{p}/",
    # networks behind the wall
    "private 10": "http://10.0.0.1:{p}/",
    "private 172": "http://172.16.0.1:{p}/",
    "private 192": "http://192.168.0.1:{p}/",
    "carrier-grade NAT": "http://100.64.0.1:{p}/",
    "cloud metadata": "http://169.254.169.254/latest/meta-data/",
    "cloud metadata, decimal": "http://2852039166/latest/meta-data/",
    "cloud metadata, IPv6-mapped": "http://[::ffff:a9fe:a9fe]/latest/meta-data/",
    "cloud metadata by name": "http://metadata.google.internal/computeMetadata/v1/",
    "cloud metadata, other clouds": "http://100.100.100.200/latest/meta-data/",
    "cloud metadata at a public number": "http://168.63.129.16/machine",
    "multicast": "http://224.0.0.1:{p}/",
    "broadcast": "http://255.255.255.255:{p}/",
    # names
    "localhost": "http://localhost:{p}/",
    "localhost, trailing dot": "http://localhost.:{p}/",
    "localhost, capital": "http://LOCALHOST:{p}/",
    "below localhost": "http://a.localhost:{p}/",
    "localhost.localdomain": "http://localhost.localdomain:{p}/",
    "IPv6 alias": "http://ip6-localhost:{p}/",
    "mDNS": "http://printer.local:{p}/",
    "internal name": "http://vault.internal:{p}/",
    "name without a dot": "http://intranet:{p}/",
    "name that resolves to loopback": "http://loopback.example.com:{p}/",
    "name with an address in it": "http://127.0.0.1.nip.example.com:{p}/",
    "name of which one address is bad": "http://mixed.example.com:{p}/",
    "name that resolves to a mapped address": "http://mapped.example.com:{p}/",
    "name that resolves to IPv6 loopback": "http://six.example.com:{p}/",
    "name that resolves to a private address": "http://ten.example.com:{p}/",
    "name that resolves to metadata": "http://metadata.example.com/",
    "name that resolves to a zone": "http://zone.example.com:{p}/",
    "name without an address": "http://nothing.example.com:{p}/",
    # addresses that two programs read differently
    "user and password": "http://user:pass@127.0.0.1:{p}/",
    "good host as user": "http://example.com@127.0.0.1:{p}/",
    "good host with port as user": "http://example.com:80@127.0.0.1:{p}/",
    "two at signs": "http://a@example.com@127.0.0.1:{p}/",
    "backslash before the host": "http:\\\\127.0.0.1:{p}/",
    "backslash in the authority": "http://127.0.0.1:{p}\\@example.com/",
    "at sign after a hash": "http://127.0.0.1:{p}#@example.com/",
    "tab in the host": "http://127.0.\t0.1:{p}/",
    "line end in the host": "http://127.0.0.1\r\n:{p}/",
    "header smuggled in the path": "http://127.0.0.1:{p}/ HTTP/1.1\r\nHost: example.com\r\n\r\nGET /",
    "null byte": "http://127.0.0.1\x00.example.com:{p}/",
    "no host": "http:///127.0.0.1:{p}/",
    "one slash": "http:/127.0.0.1:{p}/",
    "no slashes": "http:127.0.0.1:{p}/",
    "three slashes": "https:///127.0.0.1:{p}/",
    "brackets around a name": "http://[localhost]:{p}/",
    "brackets around IPv4": "http://[127.0.0.1]:{p}/",
    "right-to-left mark": "http://\u202e127.0.0.1:{p}/",
    "huge port": "http://127.0.0.1:6553{p}/",
    "negative port": "http://127.0.0.1:-{p}/",
    # other schemes
    "file": "file:///etc/passwd",
    "file with a host": "file://127.0.0.1/etc/passwd",
    "gopher": "gopher://127.0.0.1:{p}/_GET%20/",
    "ftp": "ftp://127.0.0.1:{p}/",
    "dict": "dict://127.0.0.1:{p}/info",
    "data": "data:text/html,<p>x</p>",
    "javascript": "javascript:fetch('http://127.0.0.1:{p}/')",
    "websocket": "ws://127.0.0.1:{p}/",
    "view-source": "view-source:http://127.0.0.1:{p}/",
    "scheme in capitals": "HTTP://127.0.0.1:{p}/",
    "no scheme": "127.0.0.1:{p}/",
    "scheme-relative": "//127.0.0.1:{p}/",
    "jar": "jar:http://127.0.0.1:{p}/!/",
    "unix socket": "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
}


def open_ports(port: int) -> FetchConfig:
    """The port of the secret server is an allowed one, so that nothing but the address is left to stop an attempt."""
    return FetchConfig(ports=(80, 443, port), timeout=3.0)


def fetch(config: FetchConfig, url: str) -> bytes:
    async def once() -> bytes:
        fetcher = Fetcher(config, resolve=names)
        try:
            return (await fetcher.get(url)).body
        finally:
            await fetcher.close()

    return asyncio.run(once())


@pytest.mark.parametrize("url", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_an_attempt_is_refused_and_nobody_is_connected_to(secret, url: str) -> None:
    before = secret.connections
    with pytest.raises(ToolError):
        fetch(open_ports(secret.port), url.format(p=secret.port))
    assert secret.connections == before


REDIRECTS = {
    "plain": "http://127.0.0.1:{p}/",
    "decimal": "http://2130706433:{p}/",
    "IPv6": "http://[::1]:{p}/",
    "mapped": "http://[::ffff:127.0.0.1]:{p}/",
    "scheme-relative": "//127.0.0.1:{p}/",
    "backslashes": "\\\\127.0.0.1:{p}/",
    "user": "http://example.com@127.0.0.1:{p}/",
    "localhost": "http://localhost:{p}/",
    "name": "http://loopback.example.com:{p}/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:{p}/_x",
    "data": "data:text/plain,x",
    "javascript": "javascript:alert(1)",
    "ideographic dots": "http://127%E3%80%820%E3%80%820%E3%80%821:{p}/",
}


@pytest.mark.parametrize("status", [301, 307])
@pytest.mark.parametrize("location", REDIRECTS.values(), ids=REDIRECTS.keys())
def test_a_redirect_is_checked_like_the_first_address(secret, web, location: str, status: int) -> None:
    before = secret.connections
    url = web.redirect("/", location.format(p=secret.port), status)
    with pytest.raises(ToolError):
        fetch(web.config(ports=[80, 443, secret.port]), url)
    assert [path for path, _ in web.seen] == ["/robots.txt", "/"]
    assert secret.connections == before


def test_robots_txt_can_not_send_us_inside(secret, web) -> None:
    before = secret.connections
    web.redirect("/robots.txt", f"http://127.0.0.1:{secret.port}/")
    assert fetch(web.config(ports=[secret.port]), web.html("/", "page")) == b"page"
    assert secret.connections == before


def test_the_suite_can_fail(secret) -> None:
    # With a gate in the wall the same attempts arrive.
    config = FetchConfig(allow_private=("127.0.0.0/8",), robots=False)
    for name in ("dotted", "decimal", "octal parts", "full-width digits", "trailing dot", "name that resolves to loopback"):
        before = secret.connections
        assert fetch(config, ATTEMPTS[name].format(p=secret.port)) == b"secret"
        assert secret.connections == before + 1


def test_a_gate_is_no_wider_than_it_is_said(secret, web) -> None:
    before = secret.connections
    for gate in ([f"127.0.0.1:{web.port}"], ["127.0.0.3"], ["::1"], ["10.0.0.0/8"]):
        with pytest.raises(ToolError, match="public"):
            fetch(FetchConfig(allow_private=tuple(gate), ports=(secret.port,)), f"http://127.0.0.1:{secret.port}/")
    assert secret.connections == before


def test_a_name_is_resolved_once_per_hop_and_the_checked_address_is_used(secret, web) -> None:
    # Rebinding: the first answer may be visited, every later one is the secret server's machine.
    answers: list[str] = []

    async def rebind(host: str, port: int) -> Sequence[str]:
        answers.append(host)
        return ["127.0.0.1"] if len(answers) == 1 else ["127.0.0.2"]

    async def once() -> bytes:
        fetcher = Fetcher(web.config(robots=False), resolve=rebind)
        return (await fetcher.get(f"http://rebind.example.com:{web.port}/")).body

    web.html("/", "page")
    before = secret.connections
    assert asyncio.run(once()) == b"page"
    assert answers == ["rebind.example.com"] and web.seen[0][1]["host"] == f"rebind.example.com:{web.port}"
    assert secret.connections == before


def test_tls_asks_for_the_name_at_the_checked_address() -> None:
    async def once() -> bytes:
        hello = asyncio.get_running_loop().create_future()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            hello.set_result(await reader.read(2048))
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        fetcher = Fetcher(FetchConfig(allow_private=("127.0.0.1",), robots=False), resolve=names)
        with pytest.raises(TransientError):
            await fetcher.get(f"https://loopback.example.com:{port}/")
        server.close()
        return await hello

    assert b"loopback.example.com" in asyncio.run(once())


def test_only_some_ports_of_public_addresses() -> None:
    wall = Wall(ports=(443,), resolve=names)
    for port in (22, 25, 6379, 80):
        with pytest.raises(ToolError, match=f"Port {port}"):
            asyncio.run(wall.addresses(parse_url(f"http://93.184.215.14:{port}/")))
    assert asyncio.run(wall.addresses(parse_url("https://93.184.215.14/"))) == [IPv4Address("93.184.215.14")]


def test_a_bad_gate_is_a_config_error() -> None:
    for text in ("localhost", "127.0.0.1/33", "127.0.0.1/8", "[::1", ""):
        with pytest.raises(ConfigError, match="allow_private"):
            Wall([text])


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://Example.ORG", "https://example.org/"),
        (" http://example.org:80/a b".replace(" b", "%20b"), "http://example.org/a%20b"),
        ("https://example.org:8443/x?q=1#part", "https://example.org:8443/x?q=1"),
        ("https://bücher.example/ä?ö=ü", "https://xn--bcher-kva.example/%C3%A4?%C3%B6=%C3%BC"),
        ("https://en.wikipedia.org/wiki/O'Brien_(name)", "https://en.wikipedia.org/wiki/O'Brien_(name)"),
        ("http://0x5db8d70e/", "http://93.184.215.14/"),
        ("http://[2606:2800:0021::1]/", "http://[2606:2800:21::1]/"),
        ("https://under_score.example.org./", "https://under_score.example.org/"),
    ],
)
def test_an_address_is_written_anew(text: str, url: str) -> None:
    assert parse_url(text).url == url
    assert parse_url(url).url == url


@given(st.text(max_size=40) | st.builds("http://{}".format, st.text(max_size=30)))
def test_any_text_is_an_address_or_an_explained_refusal(text: str) -> None:
    try:
        target = parse_url(text)
    except ToolError as error:
        assert str(error)
    else:
        assert target.url.isascii() and parse_url(target.url).url == target.url


SPECIAL = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3"]


@given(st.sampled_from(SPECIAL), st.integers(0, 2**32 - 1))
def test_whatever_carries_a_private_address_is_forbidden(network: str, offset: int) -> None:
    block = IPv4Network(network)
    ip = block[offset % block.num_addresses]
    number = int(ip)
    forms = [f"{number}", f"{number:#x}", f"0{number:o}", ".".join(f"{part:#x}" for part in ip.packed)]
    assert all(forbidden(parse_url(f"http://{form}/").ip) for form in forms)  # type: ignore[arg-type]
    for prefix in (0, 0xFFFF << 32, 0x64FF9B << 96, 0x2002 << 112):
        six = IPv6Address(prefix | (number << 80 if prefix >> 112 == 0x2002 else number))
        assert forbidden(six)


@given(st.integers(0, 2**32 - 1) | st.integers(0, 2**128 - 1))
def test_what_is_allowed_is_global_by_the_standard_library_too(number: int) -> None:
    ip = ip_address(number)
    assert forbidden(ip) or ip.is_global or getattr(ip, "ipv4_mapped", None)
