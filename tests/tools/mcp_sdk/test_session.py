"""Mounted servers: good ones over both transports, and every way in which one can go wrong, each with a clear end."""

import asyncio
import http.server
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the MCP SDK is not installed (extra `mcp`)")

from spadework.core.errors import BrokenError, InputError
from spadework.core.messages import ToolCall
from spadework.tools.gateway import Gateway
from spadework.tools.recorder import Recorder
from spadework.tools.tape import Tape
from spadework.tools.tool import Image

from .conftest import HERE, Mount, alive, ask, started

Settings = Callable[..., dict[str, Any]]


@pytest.fixture
def good(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "http":
        return {"name": "good", "url": request.getfixturevalue("http_server")}
    return {"name": "good", "command": [sys.executable, str(HERE / "server.py")]}


@pytest.mark.parametrize("good", ["stdio", "http"], indirect=True)
def test_a_server_made_with_the_sdk(good: dict[str, Any], mount: Mount) -> None:
    gateway = mount(good)
    # Four pages of two; a dot is no letter of a function's name.
    assert list(gateway.tools) == ["echo", "show_all", "fail", "refuse", "remember", "any"]
    assert ask(gateway, "echo", text="Brünn ✓").text == "Brünn ✓"
    shown = ask(gateway, "show_all")
    assert shown.text.splitlines() == [
        "one", "[picture: image/png, 16 bytes]", "[doc://a]", "page", "[file: doc://b application/octet-stream, 16 bytes]",
        "more: https://more.example/", "[file: audio/wav, 16 bytes]",
    ]  # fmt: skip
    assert shown.images == (Image("image/png", b"\x89PNG\r\n\x1a\n picture"),)
    assert (shown.documents, shown.links) == (("doc://a", "doc://b"), ("https://more.example/",))
    assert shown.meta == {"structured": {"n": 1}}
    # 3 + 16 + 4 + 16 + 16 bytes of content.
    assert shown.usage.bytes == 55
    # Mistakes of the policy: in the tool, in the server's own check, in ours.
    assert (ask(gateway, "fail").status, ask(gateway, "fail").text) == ("error", "no such page")
    assert (ask(gateway, "refuse").status, ask(gateway, "refuse").text) == ("error", "text must be short")
    assert ask(gateway, "echo", text=3).text == "echo: 'text' must be of type string, not 3."
    assert ask(gateway, "any", value=[1]).text.startswith("any: 'value' must be of type string, not [1].")
    # What changes something is not sent twice.
    assert not gateway.tools["remember"].facts.retry and gateway.tools["echo"].facts.retry


def test_only_what_is_named_reaches_the_child(rough: Settings, mount: Mount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEARCH_KEY", "x")
    monkeypatch.setenv("OUR_SECRET", "x")
    *names, folder = ask(mount(rough()), "environment").text.split()
    assert set(names) <= {"PATH", "HOME", "USER", "LANG", "TMPDIR", "LC_CTYPE"} and folder == os.getcwd()
    own = {"env": ["SEARCH_KEY"], "variables": {"PLACE": "{scratch}/a"}, "cwd": str(tmp_path), "include": ["environment"], "prefix": "my_"}
    gateway = mount({**rough(), **own})
    *names, folder = ask(gateway, "my_environment").text.split()
    assert {"SEARCH_KEY", "PLACE"} <= set(names) and "OUR_SECRET" not in names and folder == str(tmp_path)
    assert list(gateway.tools) == ["my_environment"]


def test_calls_run_at_once_and_from_one_loop_after_another(rough: Settings, mount: Mount) -> None:
    gateway = mount(rough())

    async def many() -> list[str]:
        calls = [gateway.call(ToolCall(name="ok", arguments={}), f"t/{number}") for number in range(50)]
        return [found.text for found in await asyncio.gather(*calls)]

    assert asyncio.run(many()) == ["ok of start 1"] * 50 == asyncio.run(many())


def test_a_server_that_dies_in_the_middle_is_started_once_more(rough: Settings, mount: Mount, tmp_path: Path) -> None:
    gateway = mount(rough())
    assert ask(gateway, "die_once").text == "die_once of start 2"
    assert len(started(tmp_path)) == 2
    with pytest.raises(BrokenError, match=r"ended with exit code 3; it said: out of luck; it had been started again for this call"):
        ask(gateway, "die")
    # Starts 2 (which was alive) and 3 were used by that call; the next one goes on with a fourth.
    assert len(started(tmp_path)) == 3
    with pytest.raises(BrokenError, match="not sent again, because a second delivery could do it twice") as found:
        ask(gateway, "die_unsafe")
    assert str(found.value).count("not sent again") == 1
    assert len(started(tmp_path)) == 4
    assert ask(gateway, "ok").text == "ok of start 5"
    assert [alive(pid) for pid in started(tmp_path)] == [False] * 4 + [True]


def test_a_server_that_hangs_is_replaced_after_three_calls(rough: Settings, mount: Mount, tmp_path: Path) -> None:
    gateway = mount(rough(), per_tool={"hang": {"timeout": 0.3}})
    for _ in range(3):
        start = time.monotonic()
        with pytest.raises(BrokenError, match=r"hang\(\{\}\): no result within 0.3 s"):
            ask(gateway, "hang")
        assert time.monotonic() - start < 5
    assert ask(gateway, "ok").text == "ok of start 2"


def test_floods_end(rough: Settings, mount: Mount) -> None:
    gateway = mount(rough())
    long = ask(gateway, "long")
    assert len(long.text) <= 8000 and long.truncated > 2_990_000
    assert ask(gateway, "chatter").text == "done"
    with pytest.raises(BrokenError, match="it sent a message of more than 16 MiB"):
        ask(gateway, "flood")
    assert ask(gateway, "ok").text.startswith("ok of start")


def test_what_is_no_json_is_passed_over_and_a_wrong_result_is_the_servers_fault(rough: Settings, mount: Mount) -> None:
    gateway = mount(rough())
    assert ask(gateway, "garbage").text == "garbage of start 1"
    with pytest.raises(BrokenError, match="'rough' sent a result that is not valid"):
        ask(gateway, "nonsense")
    assert ask(gateway, "ok").text == "ok of start 1"


def test_tools_that_change_do_not_change_a_run(rough: Settings, mount: Mount, capfd: pytest.CaptureFixture[str]) -> None:
    gateway = mount(rough())
    assert ask(gateway, "change").text == "changed"
    for _ in range(100):
        if error := capfd.readouterr().err:
            break
        time.sleep(0.05)
    assert error.count("\n") == 1 and "warning: mcp/rough: 'ok' is gone" in error
    assert ask(gateway, "ok").status == "ok" and "ok" in gateway.tools


def test_a_server_that_comes_back_as_another_one_ends_the_run(rough: Settings, mount: Mount) -> None:
    gateway = mount(rough("changes"))
    with pytest.raises(InputError, match="mcp/rough: 'count' is gone"):
        ask(gateway, "die_once")


@pytest.mark.parametrize(
    ("habit", "message"),
    [
        ("mute", "did not start and list its tools within 1 s"),
        ("exits", "did not start: it ended with exit code 1; it said: no luck today"),
        ("endless", "its list of tools has more than 100 pages"),
    ],
)
def test_a_server_that_does_not_start(rough: Settings, mount: Mount, tmp_path: Path, habit: str, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match=f"mcp/rough: .*{message}"):
        mount({**rough(habit), "startup": 1 if habit == "mute" else 20})
    assert time.monotonic() - start < 15
    assert not any(map(alive, started(tmp_path)))


def test_a_command_that_is_not_there(mount: Mount) -> None:
    with pytest.raises(InputError, match=r"mcp/server: .*No such file or directory: 'no-such-program'"):
        mount({"command": ["no-such-program"]})


def test_nothing_is_left_behind(rough: Settings, mount: Mount, tmp_path: Path) -> None:
    threads, folder = threading.active_count(), tmp_path / "run"
    gateway = mount(rough("stays"), folder=folder)
    assert ask(gateway, "ok").text == "ok of start 1"
    child = int((folder / "mcp" / "rough.log").read_text().split()[1])
    assert alive(child)
    asyncio.run(gateway.close())
    assert not alive(child) and not any(map(alive, started(tmp_path)))
    assert threading.active_count() == threads
    with pytest.raises(BrokenError, match="'rough' is closed"):
        ask(gateway, "ok")


def test_a_trajectory_has_a_server_of_its_own(rough: Settings, mount: Mount, tmp_path: Path) -> None:
    gateway = mount({**rough(), "per_trajectory": True})
    first = started(tmp_path)
    assert len(first) == 1 and not alive(first[0])  # the one that was asked for its tools
    assert [ask(gateway, "count", label).text for label in ("a/0", "a/0", "b/0", "a/0")] == ["1", "2", "1", "3"]
    _, mine, other = started(tmp_path)

    async def end() -> None:
        gateway.settle("a/0")
        await gateway.drain()

    asyncio.run(end())
    assert not alive(mine) and alive(other)
    with pytest.raises(BrokenError, match="the state of this trajectory is lost"):
        ask(gateway, "die", "b/0")
    with pytest.raises(BrokenError, match="of this trajectory has ended, and its state with it"):
        ask(gateway, "count", "b/0")
    assert len(started(tmp_path)) == 3


def test_a_fork_gets_its_state_by_the_same_calls(rough: Settings, mount: Mount) -> None:
    gateway = mount({**rough(), "per_trajectory": True})

    async def fork() -> list[str]:
        calls = [ToolCall(name="count", arguments={})] * 2
        texts = [(await gateway.call(call, "a/0")).text for call in calls]
        await gateway.restore("b/0", calls, source="a/0")
        texts.append((await gateway.call(calls[0], "b/0")).text)
        return [*texts, (await gateway.call(calls[0], "a/0")).text]

    assert asyncio.run(fork()) == ["1", "2", "3", "3"]


def test_a_cancelled_call_leaves_the_server_alone(rough: Settings, mount: Mount) -> None:
    gateway = mount(rough())

    async def stop() -> None:
        task = asyncio.ensure_future(gateway.call(ToolCall(name="hang", arguments={}), "t/0"))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stop())
    assert ask(gateway, "ok").text == "ok of start 1"


def test_a_recorded_run_needs_no_server(rough: Settings, mount: Mount, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Tape(tmp_path / "tape") as tape:
        first = ask(mount(rough(), folder=run, recorder=Recorder(tape)), "ok")
    count = len(started(tmp_path))
    settings = {**rough("exits"), "listing": str(run / "mcp" / "rough.json")}
    with Tape(tmp_path / "tape") as tape:
        replayed = mount(settings, recorder=Recorder(tape, mode="replay"))
        assert ask(replayed, "ok") == first
    assert len(started(tmp_path)) == count


class _Refusing(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_POST(self) -> None:
        self.send_response(int(self.path[1:]))
        for name, value in (("content-type", "text/plain"), ("content-length", "4"), ("retry-after", "7")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"nope")

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    with serving(_Refusing) as address:
        yield address


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("401", "HTTP 401; is the key set, right and not used up"),
        ("503", "HTTP 503"),
        ("404", "Not Found"),
        ("200", "Unexpected content type"),
    ],
)
def test_an_address_without_a_server(refusing: str, mount: Mount, path: str, message: str) -> None:
    with pytest.raises(InputError, match=f"mcp/server: .*{message}"):
        mount({"url": f"{refusing}/{path}", "startup": 10})


class _Flooding(_Refusing):
    """Answers with JSON that does not end."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(b'{"jsonrpc": "2.0", "id": 1, "result": "')
            while True:
                self.wfile.write(b"x" * 2**20)


def test_an_answer_over_http_that_does_not_end(mount: Mount) -> None:
    with serving(_Flooding) as address, pytest.raises(InputError, match="it sent a message of more than 16 MiB"):
        mount({"url": address, "startup": 20})


def test_an_address_that_nobody_listens_at(mount: Mount) -> None:
    with pytest.raises(InputError, match=r"mcp/server: .*ConnectError"):
        mount({"url": "http://127.0.0.1:9/mcp", "startup": 10})


def test_gateways_close_without_a_running_loop(rough: Settings, mount: Mount, tmp_path: Path) -> None:
    gateway: Gateway = mount(rough())
    tool = gateway.tools["ok"]
    asyncio.run(tool.close())  # type: ignore[attr-defined]
    asyncio.run(tool.close())  # type: ignore[attr-defined]
    assert not any(map(alive, started(tmp_path)))
