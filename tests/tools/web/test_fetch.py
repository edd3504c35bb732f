"""What is sent, what is followed, and that everything has an end."""

import asyncio
import gzip
import resource
import time
import zlib
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from spadework.core.errors import ConfigError, ToolError
from spadework.tools.tool import TransientError
from spadework.tools.web.fetch import FetchConfig, Fetched, Fetcher


def fetch(config: FetchConfig, *urls: str, **options: Any) -> Fetched:
    """Fetch addresses one after the other with one fetcher; the last one's answer."""

    async def run() -> Fetched:
        fetcher = Fetcher(config, **options)
        try:
            return [await fetcher.get(url) for url in urls][-1]
        finally:
            await fetcher.close()

    return asyncio.run(run())


def test_what_is_sent(web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    url = web.html("/a", "page", **{"Set-Cookie": "a=b; Path=/"})
    fetched = fetch(web.config(user_agent="spadework/2"), url, url)
    assert (fetched.url, fetched.status, fetched.body, fetched.mime) == (url, 200, b"page", "text/html")
    # robots.txt once, and no cookie the second time.
    assert [path for path, _ in web.seen] == ["/robots.txt", "/a", "/a"]
    headers = web.seen[-1][1]
    assert headers["host"] == f"127.0.0.1:{web.port}" and headers["user-agent"] == "spadework/2"
    assert headers.keys() <= {"host", "user-agent", "accept", "accept-encoding", "connection"}


def test_redirects_are_followed_up_to_a_number(web) -> None:
    web.html("/end", "page")
    web.redirect("/1", "/2", 301)
    web.redirect("/2", f"{web.url}/end#part", 308)
    fetched = fetch(web.config(max_redirects=2), f"{web.url}/1")
    assert (fetched.url, fetched.body) == (f"{web.url}/end", b"page")
    with pytest.raises(ToolError, match="More than 1 redirects"):
        fetch(web.config(max_redirects=1), f"{web.url}/1")
    loop = web.redirect("/loop", "/loop")
    with pytest.raises(ToolError, match="More than 5 redirects"):
        fetch(web.config(), loop)


def test_lists_hold_for_every_hop(web) -> None:
    web.html("/data/x", "answers")
    web.redirect("/innocent", "/data/x")
    config = web.config(block=["a.example.com/data"])

    async def here(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    assert fetch(config, f"http://b.example.com:{web.port}/data/x", resolve=here).body == b"answers"
    for path in ("data/x", "innocent"):
        with pytest.raises(ToolError, match="block list"):
            fetch(config, f"http://a.example.com:{web.port}/{path}", resolve=here)
    with pytest.raises(ConfigError, match="block_lists"):
        Fetcher(FetchConfig(block_lists=("nope",)))


def test_robots_txt_is_obeyed_on_every_hop(web) -> None:
    web.serve("/robots.txt", "text/plain", b"User-agent: *\nDisallow: /closed")
    web.html("/closed/x", "page")
    hop = web.redirect("/hop", "/closed/x")
    for url in (f"{web.url}/closed/x", hop):
        with pytest.raises(ToolError, match=r"robots\.txt"):
            fetch(web.config(), url)
    assert "/closed/x" not in [path for path, _ in web.seen]
    assert fetch(web.config(robots=False), hop).body == b"page"
    # One that is moved is followed; one that the server cannot give now forbids everything for now (RFC 9309, section 2.3.1).
    web.serve("/rules", "text/plain", b"User-agent: *\nDisallow: /")
    web.redirect("/robots.txt", "/rules")
    with pytest.raises(ToolError, match=r"robots\.txt"):
        fetch(web.config(), web.html("/open", "page"))
    web.pages["/robots.txt"] = (503, {}, b"")
    with pytest.raises(TransientError, match="HTTP 503"):
        fetch(web.config(), f"{web.url}/open")


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_body_is_unpacked_and_no_further_than_wanted(web, coding: str, pack: Callable[[bytes], bytes]) -> None:
    small = web.serve("/small", "text/plain", pack(b"text"), Content_Encoding=coding)
    assert fetch(web.config(), small).body == b"text"
    # 300 MB in 300 kB.
    bomb = web.serve("/bomb", "text/plain", pack(bytes(300_000_000)), Content_Encoding=coding)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fetched = fetch(web.config(max_bytes=1_000_000), bomb)
    assert len(fetched.body) == 1_000_000 and not fetched.complete
    # Kilobytes: what packing the bomb took came before.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_a_body_in_two_gzip_layers_or_damaged(web) -> None:
    twice = web.serve("/twice", "text/plain", gzip.compress(gzip.compress(b"x")), Content_Encoding="gzip, gzip")
    with pytest.raises(ToolError, match="compressed as 'gzip, gzip'"):
        fetch(web.config(), twice)
    with pytest.raises(ToolError, match="damaged"):
        fetch(web.config(), web.serve("/bad", "text/plain", b"no gzip", Content_Encoding="gzip"))
    half = web.serve("/half", "text/plain", gzip.compress(b"text" * 1000)[:-20], Content_Encoding="gzip")
    assert not fetch(web.config(), half).complete


def test_an_endless_body_is_cut(web) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/plain")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 10_000)
        except OSError:
            return

    web.pages["/endless"] = endless
    fetched = fetch(web.config(max_bytes=100_000), f"{web.url}/endless")
    assert len(fetched.body) == 100_000 and not fetched.complete


def test_a_slow_body_has_a_deadline(web) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(100):
                handler.wfile.write(b"x")
                time.sleep(0.1)
        except OSError:
            return

    web.pages["/slow"] = slow
    start = time.monotonic()
    with pytest.raises(TransientError, match=r"no whole answer within 0\.5 s"):
        fetch(web.config(timeout=0.5), f"{web.url}/slow")
    assert time.monotonic() - start < 5


def test_failures_that_may_pass(web) -> None:
    web.pages["/busy"] = (429, {"Retry-After": "7"}, b"")
    with pytest.raises(TransientError, match="HTTP 429") as caught:
        fetch(web.config(), f"{web.url}/busy")
    assert caught.value.retry_after == 7
    with pytest.raises(TransientError, match="ConnectError"):
        fetch(FetchConfig(allow_private=("127.0.0.1",)), "http://127.0.0.1:9/")
    assert fetch(web.config(), f"{web.url}/missing").status == 404


def test_the_next_address_of_a_name_is_tried(web) -> None:
    async def two(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.9", "127.0.0.1"]

    config = FetchConfig(allow_private=("127.0.0.0/8",))
    web.html("/", "page")
    assert fetch(config, f"http://example.com:{web.port}/", resolve=two).body == b"page"


def test_sites_that_are_silent_one_after_the_other_mean_that_we_are_offline(web) -> None:
    async def run() -> None:
        fetcher = Fetcher(FetchConfig(allow_private=("127.0.0.0/8",), robots=False))
        web.html("/", "page")
        for number in range(2, 5):
            for _ in range(3):  # one site as often as it likes
                with pytest.raises(TransientError):
                    await fetcher.get(f"http://127.0.0.{number}:9/")
        assert not fetcher.offline
        await fetcher.get(web.url)
        for number in range(2, 6):
            assert not fetcher.offline
            with pytest.raises(TransientError):
                await fetcher.get(f"http://127.0.0.{number}:9/")
        assert fetcher.offline
        await fetcher.get(web.url)
        assert not fetcher.offline

    asyncio.run(run())


def test_one_fetcher_in_two_event_loops(web) -> None:
    fetcher = Fetcher(web.config())
    url = web.html("/", "page")
    for _ in range(2):
        assert asyncio.run(fetcher.get(url)).body == b"page"
