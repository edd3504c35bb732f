"""The batch contract of verl-tool, over loopback in both directions, and servers that do not keep to it."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from spadework.core.errors import BrokenError, ConfigError, ToolError
from spadework.core.messages import ToolCall
from spadework.tools.calculator import CalculatorConfig
from spadework.tools.function import tool
from spadework.tools.gateway import Gateway
from spadework.tools.memory import MemoryConfig
from spadework.tools.note import NoteConfig
from spadework.tools.tool import Image, Observation, ToolContext
from spadework.tools.verl_tool import VerlToolConfig
from spadework.tools.verl_tool_server import VerlToolServer, read_action


@tool
async def search(query: str) -> Observation:
    """Search.

    Args:
        query: What for.
    """
    if query == "dead":
        raise BrokenError("no search engine")
    await asyncio.sleep(0.01)
    return Observation(f"about {query}", documents=("d1",), images=(Image("image/png", b"PNG"),) if query == "plot" else ())


def served() -> Gateway:
    parts = [
        *CalculatorConfig().build(ToolContext()),
        *MemoryConfig(max_chars=100).build(ToolContext()),
        *NoteConfig().build(ToolContext()),
    ]
    return Gateway([search, *parts])


@pytest.fixture
def server() -> Iterator[str]:
    with VerlToolServer(served()) as url:
        yield url


def post(url: str, **body: Any) -> Any:
    with httpx.Client(trust_env=False) as client:
        response = client.post(f"{url}/get_observation", json=body)
        return response.json() if response.status_code == 200 else (response.status_code, response.json()["detail"])


def act(url: str, *actions: tuple[str, str], **more: Any) -> Any:
    return post(url, trajectory_ids=[trajectory for trajectory, _ in actions], actions=[action for _, action in actions], **more)


def test_a_batch(server: str) -> None:
    call = json.dumps({"name": "calculator", "arguments": {"expression": "1/4"}})
    answer = act(
        server,
        ("a", "I should look. <search> mayor </search>"),
        ("b", f"<tool_call>\n{call}\n</tool_call>"),
        ("c", "no call at all"),
        ("d", "<calculator>1/0</calculator>"),
        ("e", "<search>dead</search>"),
        ("f", "<search>plot</search>"),
        finish=[False] * 6,
        is_last_step=[False] * 6,
        extra_fields=[{}] * 6,
    )
    missing = "There is no call in this. Write <search>...</search> or <calculator>...</calculator> or <memory_write>...</memory_write>"
    broken = {"obs": "", "broken": 'trajectory e: search({"query": "dead"}): no search engine'}
    assert answer["observations"][:2] == ["about mayor", "0.25"]
    assert answer["observations"][2].startswith(missing)
    assert answer["observations"][3:5] == ["Division by zero.", broken]
    assert answer["observations"][5] == {"obs": "about plot", "image": ["data:image/png;base64,UE5H"]}
    assert answer["dones"] == [False, False, False, False, True, False]
    assert answer["valids"] == [True, True, False, False, False, True]


def test_state_belongs_to_a_trajectory_until_it_finishes(server: str) -> None:
    read = '<tool_call>{"name": "memory_read"}</tool_call>'
    act(server, ("a", "<memory_write>one</memory_write>"))
    assert act(server, ("a", read), ("b", read))["observations"] == ["one", "The memory is empty."]
    # As verl-tool's agent loop closes a trajectory: a bare id.
    assert post(server, trajectory_ids="a", actions=[""], finish=[True], is_last_step=[True])["dones"] == [True]
    assert act(server, ("a", read))["observations"] == ["The memory is empty."]
    assert act(server, ("a", ""), extra_fields=[{"finish": True}])["dones"] == [True]


def test_what_was_shown_can_be_noted(server: str) -> None:
    assert act(server, ("a", "<note>about mayor</note>"))["valids"] == [False]
    act(server, ("a", "<search>mayor</search>"))
    assert act(server, ("a", "<note>about mayor</note>"))["observations"] == ["Noted as number 1. Cite it as [d1]."]


@pytest.mark.parametrize(
    ("action", "name", "arguments"),
    [
        ("<search>one</search> then <search> two </search>", "search", {"query": "two"}),
        ("<search>one <search>two</search>", "search", {"query": "two"}),
        ("<calculator>1 +\n1</calculator>", "calculator", {"expression": "1 +\n1"}),
        ('<tool_call>{"name": "search", "arguments": {"query": "x"}}</tool_call>', "search", {"query": "x"}),
        ("<think><search>a</search></think>", "search", {"query": "a"}),
    ],
)
def test_the_last_call_counts(action: str, name: str, arguments: dict[str, str]) -> None:
    assert read_action(action, served()) == ToolCall(name=name, arguments=arguments)


@pytest.mark.parametrize(
    "action",
    [
        "",
        "<search>x",
        "</search>x<search>",
        "<read_notes></read_notes>",
        "<tool_call>{</tool_call>",
        "<tool_call>[]</tool_call>",
        '<tool_call>{"name": 1}</tool_call>',
    ],
)
def test_what_is_no_call(action: str) -> None:
    assert read_action(action, served()).error


def test_many_unclosed_tags_cost_nothing() -> None:
    assert read_action("<search>" * 20_000 + "x" * 200_000, served()).error


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ([], "expected an object"),
        ({"actions": ["x"]}, "trajectory_ids: expected a list of str"),
        ({"trajectory_ids": [], "actions": []}, "expected 1 to 4096 items, found 0"),
        ({"trajectory_ids": ["a"], "actions": []}, "actions: 0 items for 1 trajectories"),
        ({"trajectory_ids": ["a"], "actions": [1]}, "actions: expected a list of str"),
        ({"trajectory_ids": ["a"], "actions": ["x"], "finish": [False, True]}, "finish: 2 items"),
        ({"trajectory_ids": ["a"], "actions": ["x"], "extra_fields": ["x"]}, "extra_fields: expected a list of dict"),
    ],
)
def test_requests_that_are_not_of_the_contract(server: str, body: Any, why: str) -> None:
    with httpx.Client(trust_env=False) as client:
        response = client.post(f"{server}/get_observation", json=body)
    assert response.status_code == 400
    assert why in response.json()["detail"]


def test_other_requests(server: str) -> None:
    with httpx.Client(trust_env=False) as client:
        health = client.get(f"{server}/health").json()
        assert (health["status"], health["tools"][:2]) == ("healthy", ["search", "calculator"])
        assert client.get(f"{server}/nothing").status_code == 404
        assert client.post(f"{server}/nothing", json={}).status_code == 404
        assert client.post(f"{server}/get_observation", content=b"{").status_code == 400


def test_many_trajectories_at_once(server: str) -> None:
    def one(number: int) -> str:
        return str(act(server, (f"t{number}", f"<search>{number}</search>"))["observations"][0])

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(one, range(64))) == [f"about {number}" for number in range(64)]


ACTIONS = {
    "look_up": {"description": "Look something up.", "argument": "query", "template": "<search>{}</search>"},
    "remember": {"description": "Remember.", "argument": "text", "template": "<memory_write>{}</memory_write>"},
    "recall": {
        "description": "Recall.",
        "template": '{} <tool_call>{"name": "memory_read"}</tool_call>'.replace("{} ", "<think>{}</think>", 1),
    },
}


def client(url: str, **options: Any) -> Gateway:
    return Gateway(VerlToolConfig.parse({"url": url, "actions": ACTIONS, **options}, source="tools").build(ToolContext()))


def said(gateway: Gateway, *calls: tuple[str, str, str], settle: str | None = None) -> list[Observation]:
    """The results of (label, tool, text); the gateway is closed afterwards."""
    keys = {"look_up": "query", "remember": "text", "recall": "action"}

    async def story() -> list[Observation]:
        try:
            seen = []
            for label, name, text in calls:
                seen.append(await gateway.call(ToolCall(name=name, arguments={keys[name]: text}), label))
                if settle is not None and label == settle:
                    gateway.settle(label)
                    await gateway.drain()
            return seen
        finally:
            await gateway.close()

    return asyncio.run(story())


def test_a_server_mounted_as_tools(server: str) -> None:
    seen = said(client(server), ("t/0", "look_up", "mayor"), ("t/0", "remember", "one"), ("t/0", "recall", ""), ("t/1", "recall", ""))
    assert [observation.text for observation in seen] == [
        "about mayor",
        "Kept. The memory has 3 of 100 characters.",
        "one",
        "The memory is empty.",
    ]
    assert seen[0].usage.bytes > 0


def test_a_trajectory_that_ended_is_forgotten_by_the_server(server: str) -> None:
    seen = said(client(server), ("t/0", "remember", "one"), ("t/1", "remember", "two"), ("t/0", "recall", ""), settle="t/0")
    assert seen[-1].text == "The memory is empty."


def test_mistakes_pictures_and_failures(server: str) -> None:
    gateway = client(server)
    long, plot = said(gateway, ("t/0", "remember", "x" * 101), ("t/0", "look_up", "plot"))
    assert (long.status, long.text[:32]) == ("error", "The memory would have 101 charac")
    assert plot.images == (Image("image/png", b"PNG"),)
    with pytest.raises(BrokenError, match="no search engine"):
        said(client(server), ("t/0", "look_up", "dead"))


@contextmanager
def other_server(reply: Callable[[dict[str, Any]], tuple[int, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that is not ours."""
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(body)
            status, answer = reply(body)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}", requests
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def one(seen: Any, done: Any = False, valid: Any = True) -> dict[str, Any]:
    return {"observations": [seen], "dones": [done], "valids": [valid], "processing_time_ms": 1.0}


def test_what_is_sent_and_what_comes_back() -> None:
    with other_server(lambda body: (200, one({"obs": "x", "reward": 0.5}, done=1, valid=1))) as (url, requests):
        (seen,) = said(client(f"{url}/get_observation", extra_fields={"k": 1}), ("t/0", "look_up", "mayor {}"))
    assert (seen.text, seen.meta) == ("x", {"done": True, "reward": 0.5})
    first, last = requests
    name = first["trajectory_ids"][0]
    assert name.startswith("t/0#")
    assert first == {
        "trajectory_ids": [name],
        "actions": ["<search>mayor {}</search>"],
        "finish": [False],
        "is_last_step": [False],
        "extra_fields": [{"k": 1}],
    }
    assert (last["trajectory_ids"], last["actions"], last["finish"]) == ([name], [""], [True])


@pytest.mark.parametrize(
    ("reply", "error", "why"),
    [
        ((200, one("", valid=False)), ToolError, "could not read this action"),
        ((200, one({"obs": "", "invalid_reason": "No valid tool found"}, valid=False)), ToolError, "No valid tool found"),
        ((200, one({"obs": "", "error": "Tool processing failed: x"}, done=True, valid=False)), BrokenError, "Tool processing failed"),
        ((500, {"detail": "Processing failed"}), BrokenError, "HTTP 500"),
        ((422, {"detail": "wrong"}), BrokenError, "HTTP 422"),
        ((200, b"<html>"), BrokenError, "not an answer of /get_observation"),
        ((200, {"observations": ["x"]}), BrokenError, "not an answer"),
        ((200, {"observations": ["x", "y"], "dones": [0, 0], "valids": [1, 1]}), BrokenError, "2 observations for 1 actions"),
        ((200, one(None)), BrokenError, "neither text nor an object"),
    ],
)
def test_who_is_to_blame(reply: tuple[int, Any], error: type[Exception], why: str) -> None:
    with other_server(lambda body: reply) as (url, requests):
        if error is ToolError:
            (seen,) = said(client(url), ("t/0", "look_up", "x"))
            assert (seen.status, why in seen.text) == ("error", True)
        else:
            with pytest.raises(BrokenError, match=why):
                said(client(url), ("t/0", "look_up", "x"))
    # What keeps a state is not sent twice.
    assert [request["finish"] for request in requests] == [[False], [True]]


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(BrokenError, match=r"127\.0\.0\.1: ConnectError"):
        said(client("http://127.0.0.1:9", stateful=False), ("t/0", "look_up", "x"))


def test_options() -> None:
    for template in ("<search></search>", "{} {}"):
        with pytest.raises(ConfigError, match=r"write \{\} once"):
            VerlToolConfig.parse({"url": "http://a", "actions": {"x": {"description": "d", "template": template}}}, source="tools")
