"""Every web service against a server on loopback that answers as its documentation says, and as servers do that fail."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from spadework.core.errors import BrokenError, ConfigError, InputError
from spadework.core.messages import ToolCall
from spadework.tools.gateway import Gateway, GatewayConfig
from spadework.tools.provider import key_from, plain, providers
from spadework.tools.recorder import Recorder
from spadework.tools.search import SearchConfig
from spadework.tools.tape import Tape
from spadework.tools.tool import Observation, ToolContext

KEY = "sk-secret-1234567890"
PAGE = "https://example.org/Ondal_Brin"
Answer = tuple[int, dict[str, str], str]

SHAPES: dict[str, tuple[dict[str, Any], Any]] = {
    # What each service answers, as far as its documentation shows it, with fields that are not read.
    "serper": (
        {},
        {
            "searchParameters": {"q": "x"},
            "organic": [{"title": "Ondal Brin", "link": PAGE, "snippet": "The mayor &amp; the town.", "position": 1}],
        },
    ),
    "tavily": (
        {},
        {"query": "x", "answer": None, "results": [{"title": "Ondal Brin", "url": PAGE, "content": "The mayor & the town.", "score": 0.9}]},
    ),
    "brave": (
        {},
        {
            "type": "search",
            "web": {
                "results": [
                    {"title": "<strong>Ondal</strong> Brin", "url": PAGE, "description": "The <strong>mayor</strong> &amp; the town."}
                ]
            },
        },
    ),
    "searxng": (
        {},
        {
            "query": "x",
            "number_of_results": 0,
            "results": [{"title": "Ondal Brin", "url": PAGE, "content": "The mayor & the town.", "engine": "a"}],
        },
    ),
    "wikipedia": (
        {},
        {
            "query": {
                "search": [
                    {"ns": 0, "title": "Ondal Brin", "pageid": 7, "snippet": 'The <span class="searchmatch">mayor</span> &amp; the town.'}
                ]
            }
        },
    ),
}
KEYS = {
    "serper": ("SERPER_API_KEY", "X-API-KEY", KEY),
    "tavily": ("TAVILY_API_KEY", "Authorization", f"Bearer {KEY}"),
    "brave": ("BRAVE_API_KEY", "X-Subscription-Token", KEY),
}


class Server:
    """Answers what a test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer | Callable[[], Answer]] = []
        self.asked: list[tuple[str, str, dict[str, str], str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                outer.asked.append((self.command, self.path, {key.lower(): value for key, value in self.headers.items()}, body))
                found = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                status, headers, text = found() if callable(found) else found
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                with contextlib.suppress(OSError):  # a client that has given up
                    self.wfile.write(text.encode())

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for variable, _, _ in KEYS.values():
        monkeypatch.setenv(variable, KEY)
    found = Server()
    yield found
    found.close()


def good(name: str) -> Answer:
    return 200, {}, json.dumps(SHAPES[name][1])


def entry(name: str, url: str) -> dict[str, Any]:
    return {name: {"url": f"{url}/w/api.php", "contact": "me@dun.example"} if name == "wikipedia" else {"url": url}}


def gateway(*entries: Any, limits: dict[str, Any] | None = None, recorder: Recorder | None = None, **options: Any) -> Gateway:
    (tool,) = SearchConfig(providers=entries, **options).build(ToolContext())
    settings = {"backoff": 0.0, "attempts": 2, "timeout": 20, **(limits or {})}
    return Gateway([tool], GatewayConfig(**settings), recorder=recorder)


def ask(door: Gateway, query: str = "mayor?") -> tuple[Observation, dict[str, float]]:
    async def once() -> tuple[Observation, dict[str, float]]:
        seen = await door.call(ToolCall(name="search", arguments={"query": query}), "task/0")
        return seen, door.settle("task/0")

    return asyncio.run(once())


@pytest.mark.parametrize("name", SHAPES)
def test_results_have_one_shape(server: Server, name: str) -> None:
    server.answers = [good(name)]
    seen, ledger = ask(gateway(entry(name, server.url), limit=4))
    url = f"{server.url}/wiki/Ondal_Brin" if name == "wikipedia" else PAGE
    assert seen.text == f"Ondal Brin ({url}): The mayor & the town." and seen.status == "ok"
    assert seen.documents == seen.links == (url,)
    assert ledger["bytes"] == len(server.answers[0][2])  # type: ignore[index]
    prices = {"serper": 0.001, "tavily": 0.008, "brave": 0.005}
    assert ledger.get("dollars", 0.0) == pytest.approx(prices.get(name, 0.0))
    method, path, headers, body = server.asked[0]
    asked = json.loads(body) if method == "POST" else {key: value[0] for key, value in parse_qs(urlsplit(path).query).items()}
    assert "mayor?" in asked.values() and (name == "searxng" or "4" in map(str, asked.values()))
    if name in KEYS:
        _, header, value = KEYS[name]
        assert headers[header.lower()] == value and KEY not in path and KEY not in body
    else:
        assert "spadework" in headers["user-agent"]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("answer", "attempts", "says"),
    [
        ((401, {}, "no"), 1, "HTTP 401; is the key set"),
        ((429, {"Retry-After": "0"}, "slow down"), 2, "HTTP 429"),
        ((429, {"Retry-After": "3600"}, "slow down"), 1, "HTTP 429"),
        ((500, {}, "oops"), 2, "HTTP 500"),
        ((432, {}, '{"detail": "plan"}'), 1, 'HTTP 432: {"detail": "plan"}'),
        ((200, {}, "<html>busy</html>"), 2, "not JSON: <html>busy"),
        ((200, {}, '{"results": 5, "organic": 5, "web": 5, "query": 5}'), 2, "another shape"),
        ((200, {}, '["no object"]'), 2, "another shape"),
    ],
)
def test_failures_are_infrastructure(server: Server, name: str, answer: Answer, attempts: int, says: str) -> None:
    server.answers = [answer]
    with pytest.raises(BrokenError) as found:
        ask(gateway(entry(name, server.url)))
    assert says in str(found.value) and len(server.asked) == attempts
    assert KEY not in str(found.value) and KEY not in repr(found.value.__cause__)


def test_an_error_of_mediawiki_comes_with_status_200(server: Server) -> None:
    server.answers = [(200, {}, '{"error": {"code": "srsearch-error", "info": "An error has occurred"}}')]
    with pytest.raises(BrokenError, match="An error has occurred"):
        ask(gateway(entry("wikipedia", server.url)))
    assert len(server.asked) == 1


def test_no_results_are_no_failure(server: Server) -> None:
    server.answers = [(200, {}, '{"type": "search"}')]
    assert ask(gateway(entry("brave", server.url)))[0].text == "No results."


def test_an_empty_query_goes_nowhere(server: Server) -> None:
    server.answers = [good("brave")]
    seen, _ = ask(gateway(entry("brave", server.url)), " ")
    assert seen.status == "error" and not server.asked


def test_the_next_provider_answers_and_is_paid(server: Server) -> None:
    server.answers = [(402, {}, ""), good("brave")]
    seen, ledger = ask(gateway(entry("serper", server.url), {"brave": {"url": server.url, "price": 0.25}}, numbered=True))
    assert seen.text.startswith("1. Ondal Brin") and seen.meta["provider"] == "brave"
    assert ledger["failovers"] == 1 and ledger["dollars"] == 0.25


def test_a_slow_server_meets_the_deadline(server: Server) -> None:
    def slow() -> Answer:
        time.sleep(3)
        return good("brave")

    server.answers = [slow]
    begin = time.monotonic()
    with pytest.raises(BrokenError, match=r"no result within 0\.3 s"):
        ask(gateway(entry("brave", server.url), limits={"timeout": 0.3}))
    assert time.monotonic() - begin < 2.5


def test_a_host_has_a_limit_of_its_own(server: Server) -> None:
    server.answers = [good("brave")]
    door = gateway(entry("brave", server.url), limits={"per_host": {"127.0.0.1": {"rate": 5, "burst": 1}}})

    async def thrice() -> float:
        begin = time.monotonic()
        await asyncio.gather(*(door.call(ToolCall(name="search", arguments={"query": str(n)}), f"t/{n}") for n in range(3)))
        return time.monotonic() - begin

    assert asyncio.run(thrice()) >= 0.38  # the second and third wait 0.2 s each


def test_no_key_is_kept_anywhere(server: Server, tmp_path: Path) -> None:
    server.answers = [good("serper")]
    recorder = Recorder(Tape(tmp_path / "tape"))
    door = gateway(entry("serper", server.url), recorder=recorder)
    ask(door)
    asyncio.run(door.close())
    assert server.asked[0][2]["x-api-key"] == KEY
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Ondal Brin" in kept and KEY.encode() not in kept
    assert KEY not in repr(SearchConfig(providers=("serper",)).model_dump())


@pytest.mark.parametrize("name", KEYS)
def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    variable = KEYS[name][0]
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match=f"{name} needs a key; set the environment variable {variable}"):
        SearchConfig(providers=(name,)).build(ToolContext())


def test_a_key_that_no_header_can_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_KEY", "a\nb: c")
    with pytest.raises(InputError, match="X_KEY does not hold a key") as found:
        key_from("X_KEY", "x")
    assert "b: c" not in str(found.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"providers": ["brav"]}, "unknown search provider 'brav'; did you mean 'brave'"),
        ({"providers": [{"brave": {"key": "x"}}]}, "unknown key 'key'"),
        ({"providers": [{"searxng": None}]}, "'url' is missing"),
        ({"providers": [["brave"]]}, "neither a name nor a name with options"),
        ({"providers": ["brave"], "mode": "dense"}, "'mode' has no effect with providers"),
    ],
)
def test_recipes_are_checked(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as found:
        SearchConfig.parse(options, source="tools: search")
    assert says in str(found.value)


@pytest.mark.parametrize("url", ["example.org", "ftp://example.org", "http://", "https://me:secret@example.org"])
def test_an_address_is_checked(url: str) -> None:
    with pytest.raises(InputError, match="address") as found:
        SearchConfig(providers=({"searxng": {"url": url}},)).build(ToolContext())
    assert "secret" not in str(found.value)


def test_markup_becomes_text() -> None:
    assert plain("a <b>b</b> &lt;i&gt; 3 < 4") == "a b <i> 3 < 4" and plain(None) == ""


def test_the_shelf() -> None:
    assert {"serper", "tavily", "brave", "searxng", "wikipedia", "retrieve", "zerosearch"} <= set(providers.names())
