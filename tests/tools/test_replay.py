"""A run whose tools went over HTTP is recorded, and replays with the network unplugged: the same trajectories and rewards to the bit."""

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from spadework.agents.planner import Planner
from spadework.core.errors import ToolError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.core.seeds import derive_seed
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.engines.engine import Request, SamplingParams
from spadework.engines.scripted import ScriptedEngine
from spadework.rewards.reward import Rubric
from spadework.rollout.driver import Limits
from spadework.rollout.groups import rollout
from spadework.tasks.task import Task
from spadework.tools.function import FunctionTool, tool
from spadework.tools.gateway import Gateway
from spadework.tools.http import send
from spadework.tools.limits import GatewayConfig
from spadework.tools.recorder import Recorder
from spadework.tools.tape import Tape
from spadework.tools.tool import Observation, Usage
from spadework.trajectories.store import Record, encode_record
from spadework.trajectories.tree import Status

PAGES = [Document(id=f"d{n}", title=f"Page {n}", text=f"Page {n} number {n * n}\nword{n % 7} word{n % 11}") for n in range(80)]
TASKS = [Task(id=f"t{n}", question="Which?", answers=(str(n % 10),)) for n in range(50)]


class Handler(BaseHTTPRequestHandler):
    corpus = MemoryCorpus(PAGES)
    served = 0

    def do_GET(self) -> None:
        Handler.served += 1
        url = urlsplit(self.path)
        [wanted] = parse_qs(url.query)["q"]
        if wanted == "word3":
            return self.send_error(500)  # a shard of the index is down for good
        if url.path == "/search":
            body = json.dumps([hit.model_dump() for hit in self.corpus.search(wanted)])
        else:
            page = self.corpus.get(wanted)
            if page is None:
                return self.send_error(404)
            body = f"{page.text}\nserved as number {Handler.served}"  # the live site never says the same thing twice
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        pass


def web_tools(address: str, client: httpx.AsyncClient) -> list[FunctionTool]:
    @tool(price=0.01)
    async def search(query: str) -> Observation:
        """Search.

        Args:
            query: What for.
        """
        response = await send(client, "GET", f"{address}/search", params={"q": query})
        hits = response.json()
        usage = Usage(bytes=len(response.content))
        return Observation("\n".join(hit["snippet"] for hit in hits), documents=tuple(hit["id"] for hit in hits), usage=usage)

    @tool
    async def read(title: str) -> str:
        """Read.

        Args:
            title: Of what.
        """
        response = await send(client, "GET", f"{address}/page", params={"q": title})
        if response.status_code == 404:
            raise ToolError("There is no such page.")
        return response.text

    return [search, read]


class Hashes:
    """A renderer in which a turn is two numbers, and an observation the bytes of its hash: whatever differs shows in the tokens."""

    name, stop, stop_token_ids, vocab_size = "hashes", (), (), 1001

    def prompt(self, messages: Any, tools: Any = ()) -> list[int]:
        return [1000]

    def extend(self, turn_ids: Any, messages: tuple[Message, ...]) -> list[int]:
        return list(hashlib.sha256("\n".join(message.content for message in messages).encode()).digest()[:6])

    def text(self, token_ids: list[int]) -> str:
        return str(token_ids)

    def parse(self, token_ids: list[int]) -> Turn:
        kind, number = token_ids
        if kind == 0:
            return Turn(calls=(ToolCall(name="search", arguments={"query": f"word{number % 11}"}),))
        if kind == 1:
            # Two pages at once; some are not there.
            return Turn(calls=tuple(ToolCall(name="read", arguments={"title": f"Page {n % 90}"}) for n in (number, number + 1)))
        return Turn(answer=str(number))


def reply(request: Request) -> list[int]:
    """Search for what the seed says, read what the results say, answer what the pages say."""
    turn = (len(request.token_ids) - 1) // 8
    return [turn, derive_seed(request.seed) % 100 if turn == 0 else sum(request.token_ids[-6:]) % (90, 90, 10)[turn]]


async def carry_out(address: str, tape: Path, mode: Any) -> list[dict[str, Any]]:
    """200 trajectories, scored."""
    async with httpx.AsyncClient(timeout=20.0) as client:
        gateway = Gateway(
            web_tools(address, client),
            GatewayConfig(backoff=0.001, attempts=2),
            recorder=Recorder(Tape(tape, write=mode == "record"), mode=mode),
        )
        groups = await rollout(
            TASKS, num_samples=4, agent=Planner(), engine=ScriptedEngine(reply), renderer=Hashes(), gateway=gateway,  # type: ignore[arg-type]
            params=SamplingParams(), limits=Limits(), seed=5, concurrency=64,
        )  # fmt: skip
        await gateway.close()
    Rubric.build({"em": {}}, source="test").score_groups(TASKS, groups, 0.0)
    return [encode_record(Record(trajectory)) for group in groups for trajectory in group]


HOW = ("hits", "saved", "retries", "queued")
"""Entries of a ledger that tell how a result was got, and not what it is."""


def content(records: list[dict[str, Any]]) -> list[str]:
    for record in records:
        holders = [record["trajectory"], *(node["meta"] for node in record["trajectory"]["nodes"] if "ledger" in node["meta"])]
        for holder in holders:
            holder["ledger"] = {name: value for name, value in holder["ledger"].items() if name.partition("/")[0] not in HOW}
    return [json.dumps(record, sort_keys=True) for record in records]


@pytest.fixture
def site() -> Any:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_200_recorded_trajectories_replay_without_a_network(tmp_path: Path, site: str) -> None:
    recorded = asyncio.run(carry_out(site, tmp_path / "tape", "record"))
    assert len(recorded) == 200
    states = [record["trajectory"]["status"] for record in recorded]
    # Who asked for the dead shard is broken; everybody else has an answer, some of them the right one.
    assert 5 < states.count(Status.BROKEN) < 50 and set(states) == {Status.BROKEN, Status.COMPLETED}
    rewards = [record["trajectory"]["reward"] for record in recorded]
    assert 0 < sum(rewards) < 100
    with Tape(tmp_path / "tape", write=False) as tape:
        assert tape.manifest()["failures"] == states.count(Status.BROKEN)
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("a network namespace of its own is not permitted here (unshare -rn)")
    command = ["unshare", "-rn", sys.executable, __file__, site, str(tmp_path / "tape"), str(tmp_path / "out.json")]
    subprocess.run(command, check=True, timeout=120)
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["reachable"] is False
    replayed = result["records"]
    assert all(record["trajectory"]["ledger"].get("misses", 0) == 0 for record in replayed)
    assert sum(record["trajectory"]["ledger"].get("hits", 0) for record in replayed) > 400
    assert content(replayed) == content(recorded)


def main(address: str, tape: Path, out: Path) -> None:
    """Replay in this process, and say whether it could have cheated."""
    try:
        httpx.get(address, timeout=2.0)
        reachable = True
    except httpx.TransportError:
        reachable = False
    out.write_text(json.dumps({"reachable": reachable, "records": asyncio.run(carry_out(address, tape, "replay"))}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
