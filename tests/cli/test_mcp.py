"""`spadework mcp` from the outside: a real client uses our server over stdio and over HTTP."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the MCP SDK is not installed (extra `mcp`)")

import httpx2
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from spadework.cli.mcp import ask_tool
from spadework.cli.trained import load_trained
from spadework.tools.gateway import Gateway, GatewayConfig
from spadework.tools.mcp_sdk.offer import offer

Command = Callable[..., tuple[int, str, str]]

COMMAND = [sys.executable, "-c", "from spadework.cli.main import main; main()", "mcp", "serve"]
ROUGH = Path(__file__).resolve().parents[1] / "tools" / "mcp_sdk" / "rough.py"
SETTINGS = [
    "data.train.pages=1000", "data.test.pages=1000", "reading=null", "rl=null", "threads=1",
    "sft.steps=1", "sft.batch_size=1", "sft.demonstrations=6", "eval.tasks_per_hop=2", "eval.max_tokens=4",
]  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path, spadework: Command) -> Path:
    rows = [{"id": "a", "title": "Velor Tash", "text": "Velor Tash is the mayor of Kedun."}]
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert spadework("corpus", "build", tmp_path / "pages.jsonl", "--out", tmp_path / "corpus")[0] == 0
    return tmp_path / "corpus"


def environment() -> dict[str, str]:
    source = str(Path(__file__).resolve().parents[2] / "src")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))}


async def use(client: Client) -> None:
    """Search, read, and calls that are wrong."""
    async with client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["search", "read"] and tools["search"].annotations.read_only_hint  # type: ignore[union-attr]
        found = await client.call_tool("search", {"query": "who is mayor"})
        assert not found.is_error and found.content[0].text == "Velor Tash is the mayor of Kedun."  # type: ignore[union-attr]
        page = await client.call_tool("read", {"title": "Velor Tash"})
        assert page.content[0].text == "Velor Tash is the mayor of Kedun."  # type: ignore[union-attr]
        wrong = await client.call_tool("search", {"query": 3})
        assert wrong.is_error and "must be of type string" in wrong.content[0].text  # type: ignore[union-attr]
        with pytest.raises(MCPError, match="There is no tool 'serch'"):
            await client.call_tool("serch", {})


def test_over_stdio(corpus: Path) -> None:
    server = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "--corpus", str(corpus)], env=environment())
    asyncio.run(use(Client(server, read_timeout_seconds=120)))


@pytest.fixture
def served(corpus: Path) -> Iterator[str]:
    command = [*COMMAND, "--corpus", str(corpus), "--port", "0", "--key-env", "OUR_KEY"]
    child = subprocess.Popen(command, env={**environment(), "OUR_KEY": "sesame"}, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    yield child.stdout.readline().strip()
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 130
    child.stdout.close()


def test_over_http_with_a_key(served: str) -> None:
    async def both() -> None:
        async with httpx2.AsyncClient() as bare:
            assert (await bare.post(served, json={})).status_code == 401
        async with httpx2.AsyncClient(headers={"Authorization": "Bearer sesame"}) as http:
            await use(Client(streamable_http_client(served, http_client=http), read_timeout_seconds=120))

    asyncio.run(both())


def test_a_trained_agent_answers_others(tmp_path: Path, spadework: Command) -> None:
    run = tmp_path / "run"
    assert spadework("sft", "demo", "--out", run, *SETTINGS)[0] == 0

    async def ask() -> list[Any]:
        trained = await load_trained(run)
        gateway = Gateway([ask_tool(trained)], GatewayConfig(timeout=300))
        async with Client(offer(gateway, version="1")) as client:
            question = {"question": "What is Ondal Brin's mayor?"}
            return list(
                await asyncio.gather(client.call_tool("ask", question), client.call_tool("ask", question), client.call_tool("ask", {}))
            )

    *answers, empty = asyncio.run(ask())
    assert empty.is_error and "'question' is missing" in empty.content[0].text
    # After one step it may give no answer; the command line gives the same one.
    code, out, _ = spadework("ask", run, "What is Ondal Brin's mayor?", "--json")
    result = json.loads(out)
    for answer in answers:
        assert answer.is_error == (code == 1)
        assert (result["answer"] or result["error"]) in answer.content[0].text
        if code == 0:
            assert answer.structured_content["trail"] == result["trail"]


def test_tools_of_a_server_are_listed_and_kept(tmp_path: Path, spadework: Command) -> None:
    settings = f"command=[{sys.executable}, -S, {ROUGH}]"
    code, out, _ = spadework("mcp", "list", settings, "--out", tmp_path / "listing.json")
    assert code == 0 and out.splitlines()[0] == "rough 1" and out.splitlines()[1].startswith("ok")
    assert json.loads((tmp_path / "listing.json").read_text())["server"] == "rough"
    code, out, _ = spadework("tools", "call", "mcp/ok", settings, "--json")
    assert (code, json.loads(out)["observation"]) == (0, "ok of start 1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list"], "give either a command, which starts the server, or the url"),
        (["list", "command=[no-such-program]"], "No such file or directory: 'no-such-program'"),
        (["serve"], "tool 'search' needs a corpus; name one with --corpus DIR"),
        (["serve", "search=null", "read=null"], "no tool is left to offer"),
        (["serve", "serch={}"], "tools: unknown key 'serch'; did you mean 'search'?"),
        (["serve", "search=null", "read=null", "tape={}"], "mcp serve has neither"),
        (["serve", "--host", "0.0.0.0"], "have no effect over stdio; name a --port"),
        (["serve", "--host", "0.0.0.0", "--port", "0"], "name a variable that holds a key with --key-env"),
        (["serve", "--port", "0", "--key-env", "NOT_SET_AT_ALL"], "the environment variable NOT_SET_AT_ALL is not set"),
    ],
)
def test_wrong_calls_are_one_line(spadework: Command, arguments: list[str], message: str) -> None:
    code, out, error = spadework("mcp", *arguments)
    assert (code, out, error.count("\n")) == (2, "", 1), error
    assert message in error
