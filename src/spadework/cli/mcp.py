"""`spadework mcp`: what other programs' servers offer, and our tools offered to others, by the Model Context Protocol."""

import asyncio
import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spadework.cli.frame import AsJson, Overrides, StageOption, command_group, print_result
from spadework.core.errors import InputError

if TYPE_CHECKING:
    from spadework.cli.trained import Trained
    from spadework.tools.config import ToolsConfig
    from spadework.tools.function import FunctionTool

__all__ = ["app", "ask_tool", "list_tools", "serve"]

app = command_group("MCP servers: look at one, or be one.")

_OFFERED = {"search": {"limit": 5}, "read": {"max_chars": 4000}, "snippet": {"units": 3}, "gateway": {"timeout": 120, "concurrency": 16}}
"""For a reader who is not our tiny model."""
_ASK = {"timeout": 300, "concurrency": 4, "attempts": 1}


@app.command("list")
def list_tools(
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Keep the list, for a recipe's `listing`.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start or reach a server and list its tools. Settings are those of `tools.mcp/NAME` in a recipe.

    Example: spadework mcp list "command=[npx, -y, '@modelcontextprotocol/server-memory']"
    """
    from spadework.core.config import apply_overrides
    from spadework.tools.mcp import McpConfig, write_listing

    listing = McpConfig.parse(apply_overrides({}, overrides or []), source="mcp").look()
    if out is not None:
        write_listing(listing, out)
    width = max((len(row["name"]) for row in listing["tools"]), default=0) + 2
    lines = [f"{row['name']:<{width}}{' '.join(row.get('description', '').split())[:120]}" for row in listing["tools"]]
    print_result(listing, as_json, "\n".join([f"{listing['server']} {listing['version']}", *lines]))


@app.command()
def serve(
    overrides: Overrides = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="Offer `ask`: the agent that this run has trained.", show_default=False)
    ] = None,
    stage: StageOption = None,
    corpus: Annotated[
        Path | None, typer.Option("--corpus", metavar="DIR", help="The corpus that is searched, or the run's pages.", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", help="Streamable HTTP; 0 takes a free port. Else stdio.", show_default=False)
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Other machines reach 0.0.0.0; that needs a key.")] = "127.0.0.1",
    key_env: Annotated[
        str | None, typer.Option("--key-env", metavar="NAME", help="Variable with the key that clients send.", show_default=False)
    ] = None,
) -> None:
    """Offer search, read and other tools to other programs, and `ask` with a trained agent.

    Settings are those of `tools` in a recipe, limits among them: `gateway.rate=2`. A client starts the command and speaks over stdio; with
    --port it serves at http://HOST:PORT/mcp until Ctrl-C.

    Example: spadework mcp serve --corpus runs/corpus --run runs/demo --port 8000
    """
    if port is None and (key_env or host != "127.0.0.1"):
        raise InputError("--host and --key-env have no effect over stdio; name a --port")
    if key_env is not None and not os.environ.get(key_env):
        raise InputError(f"--key-env: the environment variable {key_env} is not set")
    if not _local(host) and key_env is None:
        raise InputError(f"--host {host}: other machines could use it; name a variable that holds a key with --key-env")
    asyncio.run(_serve(overrides or [], run, stage, corpus, port, host, os.environ.get(key_env or "", "")))


async def _serve(
    overrides: list[str], run: Path | None, stage: str | None, corpus: Path | None, port: int | None, host: str, key: str
) -> None:
    try:
        from spadework.tools.mcp_sdk.offer import offer, over_http, over_stdio
    except ImportError:
        raise InputError("mcp serve needs the MCP SDK: pip install 'spadework[mcp]'") from None
    from spadework import __version__
    from spadework.corpus.store import open_corpus
    from spadework.tools.gateway import Gateway
    from spadework.tools.tool import ToolContext

    trained = None
    if run is not None:
        from spadework.cli.trained import load_trained  # brings torch, which nothing else here needs

        trained = await load_trained(run, stage=stage, corpus=corpus)
    config = _config(overrides, ask=trained is not None)
    pages = trained.environment.corpus if trained else None if corpus is None else open_corpus(corpus, snippets=config.snippet)
    tools = [*config.build(ToolContext(corpus=pages)), *([] if trained is None else [ask_tool(trained)])]
    if not tools:
        raise InputError("no tool is left to offer")
    gateway = Gateway(tools, config.gateway)
    server = offer(gateway, version=__version__, instructions="Tools for research: search, read, and ask where a trained agent is there.")
    try:
        if port is None:
            await over_stdio(server)
            return
        with _listen(host, port) as listener:
            print(f"http://{host}:{listener.getsockname()[1]}/mcp", flush=True)
            await over_http(server, listener, key=key)
    finally:
        await gateway.close()
        if trained is not None:
            await trained.environment.gateway.close()


def _config(overrides: list[str], *, ask: bool) -> "ToolsConfig":
    from spadework.core.config import apply_overrides, merge
    from spadework.tools.config import ToolsConfig

    values = merge(_OFFERED, {"gateway": {"per_tool": {"ask": _ASK}}}) if ask else _OFFERED
    config = ToolsConfig.parse(apply_overrides(values, overrides), source="tools")
    if config.tape or config.faults:
        raise InputError("tape and faults are for runs; mcp serve has neither")
    return config


def ask_tool(trained: "Trained") -> "FunctionTool":
    """The tool `ask`: a question for a trained agent."""
    from spadework.cli.ask import answer
    from spadework.core.errors import ToolError
    from spadework.tools.function import tool
    from spadework.tools.tool import Observation

    @tool
    async def ask(question: str) -> Observation:
        """Ask a trained research agent. It searches and reads by itself, and answers with the pages that it was shown and its trail.

        Args:
            question: One question, in plain words.
        """
        if not question.strip():
            raise ToolError("The question is empty. Write what you want to know.")
        result: dict[str, Any] = await answer(question, trained)
        if result["answer"] is None:
            raise ToolError(f"The agent found no answer: {result['error']}")
        pages = [f"[{page['id']}] {page['title']}" for page in result["pages"]]
        text = "\n".join([result["answer"], *(["", "Pages:", *pages] if pages else []), "", "Trail:", *result["trail"]])
        documents = tuple(page["id"] for page in result["pages"])
        return Observation(text, documents=documents, meta={"structured": result})

    return ask


def _local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise InputError(f"--port {port} on {host}: {error.strerror or error}") from None
