"""The simulated engine: its schedule, its prompt, its scripted twin."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from spadework.core.errors import BrokenError, ConfigError, InputError
from spadework.core.messages import ToolCall
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.tools.gateway import Gateway, GatewayConfig
from spadework.tools.provider import providers
from spadework.tools.providers.zerosearch import noise
from spadework.tools.recorder import Recorder
from spadework.tools.search import SearchConfig
from spadework.tools.tape import Tape
from spadework.tools.tool import Observation, ToolContext

CORPUS = MemoryCorpus(
    [
        Document(id=f"d{n}", title=f"Town {n}", text=f"Town {n} is a town.\nTown {n} mayor Person {n}", links=(f"Person {n}",))
        for n in range(20)
    ]
)
GOLD = {"task": ("Who rules Town 3?", ("Person 3", "P. Three"))}


def test_the_schedule() -> None:
    # (4^0.5 - 1) / 3 * 0.5 = 1 / 6
    assert noise(0.5, 0.0, 0.5, 4.0) == pytest.approx(1 / 6)
    assert noise(0.0, 0.25, 0.75, 4.0) == 0.25 and noise(1.0, 0.25, 0.75, 4.0) == 0.75
    # (2^0.5 - 1) / 1 * (0.2 - 1) + 1 = 0.66863
    assert noise(0.5, 1.0, 0.2, 2.0) == pytest.approx(1 - 0.8 * 0.41421356)


def door(options: dict[str, Any], *, recorder: Recorder | None = None, seed: int = 0, limit: int = 2) -> Gateway:
    context = ToolContext(corpus=CORPUS, seed=seed, extras={"gold": GOLD})
    tools = SearchConfig(providers=({"zerosearch": options},), limit=limit).build(context)
    return Gateway(tools, GatewayConfig(attempts=2, backoff=0.0, timeout=20), recorder=recorder)


def ask(gateway: Gateway, query: str, label: str = "task/0") -> Observation:
    return asyncio.run(gateway.call(ToolCall(name="search", arguments={"query": query}), label))


def test_the_twin_tells_the_truth_or_not() -> None:
    useful = ask(door({}), "mayor Town 3")
    assert "Town 3 mayor Person 3" in useful.text and "d3" in useful.documents and useful.meta == {"noisy": False}
    noisy = ask(door({"start": 1.0, "end": 1.0}), "mayor Town 3")
    assert "Town 3 mayor" in noisy.text and "Person" not in noisy.text.replace("Person 3 ", "") and noisy.documents == ()
    assert noisy.text == ask(door({"start": 1.0, "end": 1.0}), "mayor Town 3", "task/1").text
    assert noisy.meta == {"noisy": True}


def test_noise_comes_with_progress_and_stays() -> None:
    gateway = door({"start": 0.0, "end": 0.5})
    queries = [f"mayor Town {n} {m}" for n in range(20) for m in range(20)]

    async def noisy(progress: float) -> set[str]:
        gateway.advance(progress)
        return {
            query for query in queries if (await gateway.call(ToolCall(name="search", arguments={"query": query}), "task/0")).meta["noisy"]
        }

    async def all_of_it() -> list[set[str]]:
        return [await noisy(progress) for progress in (0.0, 0.5, 1.0)]

    none, some, many = asyncio.run(all_of_it())
    assert not none and some < many
    # Binomial(400, 1/6) and Binomial(400, 1/2): standard deviations 7.5 and 10.
    assert abs(len(some) - 400 / 6) < 30 and abs(len(many) - 200) < 40


def test_a_tape_keeps_the_stages_apart(tmp_path: Path) -> None:
    gateway = door({"start": 0.0, "end": 1.0}, recorder=Recorder(Tape(tmp_path / "tape")))
    clean = ask(gateway, "mayor Town 3")
    gateway.advance(1.0)
    assert ask(gateway, "mayor Town 3").text != clean.text
    gateway.advance(0.0)
    again = ask(gateway, "mayor Town 3")
    assert again.text == clean.text
    assert gateway.settle("task/0")["hits"] == 1
    asyncio.run(gateway.close())


class Model:
    """A chat server that keeps what it was asked."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[str | None] = []
        self.reply: Any = {
            "choices": [{"message": {"content": "<think>hm</think>\nFirst page.\n\nSecond page.\nThird."}}],
            "usage": {"total_tokens": 50},
        }
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))) | {"path": self.path})
                outer.headers.append(self.headers["Authorization"])
                data = json.dumps(outer.reply).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def prompt(self) -> str:
        return str(self.bodies[-1]["messages"][0]["content"])


@pytest.fixture
def model() -> Iterator[Model]:
    found = Model()
    yield found
    found.http.shutdown()
    found.http.server_close()


def test_a_model_writes_and_is_told_no_answer(model: Model) -> None:
    gateway = door({"url": model.url, "model": "sim"})
    seen = ask(gateway, "mayor of Town 3")
    assert seen.text == "First page.\nSecond page." and seen.documents == ()
    assert gateway.settle("task/0")["tool_tokens"] == 50
    assert model.bodies[0]["path"] == "/v1/chat/completions" and model.bodies[0]["model"] == "sim" and model.headers == [None]
    assert "Query: mayor of Town 3" in model.prompt() and "must be useful" in model.prompt()
    assert "Person 3" not in model.prompt() and "Who rules" not in model.prompt()


def test_noise_is_asked_for(model: Model) -> None:
    ask(door({"url": model.url, "model": "sim", "start": 1.0}), "mayor of Town 3")
    assert "must be noise" in model.prompt()


def test_the_answer_leaks_only_if_asked_to(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_KEY", "sk-1")
    gateway = door({"url": model.url, "model": "sim", "leak_answer": True, "key_env": "SIM_KEY"})
    ask(gateway, "mayor of Town 3")
    assert "Who rules Town 3?" in model.prompt() and "Person 3 or P. Three" in model.prompt() and model.headers == ["Bearer sk-1"]
    ask(gateway, "mayor of Town 3", "other/0")
    assert "Who rules" not in model.prompt()


@pytest.mark.parametrize("reply", [{}, {"choices": []}, {"choices": [{"message": {"content": " "}}]}, [1]])
def test_a_reply_that_cannot_be_read_is_infrastructure(model: Model, reply: Any) -> None:
    model.reply = reply
    with pytest.raises(BrokenError, match=r"chat completion|wrote nothing"):
        ask(door({"url": model.url, "model": "sim"}), "x")
    assert len(model.bodies) == 2


@pytest.mark.parametrize("options", [{"url": "http://127.0.0.1:1"}, {"model": "m"}, {"leak_answer": True}, {"key_env": "X"}, {"base": 1.0}])
def test_options_without_effect(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        providers.build("zerosearch", options)


def test_a_leak_needs_tasks() -> None:
    part = providers.build("zerosearch", {"url": "http://127.0.0.1:1", "model": "m", "leak_answer": True})
    with pytest.raises(InputError, match="needs tasks with answers"):
        part.build(2, ToolContext(corpus=CORPUS))
