"""`spadework tools`: what an agent can be given, and single calls through the same gateway as an agent's."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spadework.cli.frame import AsJson, Overrides, command_group, print_result
from spadework.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    from spadework.tools.tool import Tool

__all__ = ["app", "call", "list_tools"]

app = command_group("List tools, and call one.")


@app.command("list")
def list_tools(as_json: AsJson = False) -> None:
    """List the tools that a recipe can name under `tools`, with their options.

    Example: spadework tools list
    """
    from spadework.tools.tool import tools

    rows = []
    for name in tools.names():
        part = tools.get(name)
        options = {key: " ".join((field.description or "").split()) for key, field in part.model_fields.items()}
        description = " ".join((part.__doc__ or "").split("\n\n")[0].split())
        rows.append({"name": name, "description": description, "options": options})
    width = max((len(row["name"]) for row in rows), default=0) + 2
    lines = [f"{row['name']:<{width}}{row['description']} Options: {', '.join(row['options']) or 'none'}." for row in rows]
    print_result(rows, as_json, "\n".join(lines))


@app.command()
def call(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of `spadework tools list`, or PART/TOOL where a part has several tools.")],
    overrides: Overrides = None,
    args: Annotated[str, typer.Option("--args", metavar="JSON", help="The arguments as a JSON object.")] = "{}",
    corpus: Annotated[
        Path | None, typer.Option("--corpus", metavar="DIR", help="A corpus folder, for tools that need one.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Call a tool through the gateway and print what an agent would see. Options of the tool and of the gateway are dotted settings.

    Example: spadework tools call search --corpus runs/corpus --args '{"query": "who designed the lighthouse"}' limit=5 gateway.timeout=10
    """
    result = asyncio.run(_call(name, overrides or [], args, corpus))
    lines = [result["observation"], "", f"status: {result['status']}", *(f"{key}: {value:g}" for key, value in result["ledger"].items())]
    print_result(result, as_json, "\n".join(lines))


async def _call(name: str, overrides: list[str], args: str, corpus: Path | None) -> dict[str, Any]:
    from spadework.core.config import apply_overrides
    from spadework.core.messages import ToolCall
    from spadework.corpus.store import open_corpus
    from spadework.tools.faults import Faults, FaultsConfig
    from spadework.tools.gateway import Gateway, GatewayConfig
    from spadework.tools.tool import ToolContext, tools

    options = apply_overrides({}, overrides)
    limits = GatewayConfig.parse(options.pop("gateway", {}), source="gateway")
    rates = options.pop("faults", None)
    faults = Faults(FaultsConfig.parse(rates, source="faults")) if rates is not None else None
    part, _, wanted = name.partition("/")
    context = ToolContext(corpus=open_corpus(corpus) if corpus is not None else None)
    built = tools.build(part, options, source="tools").build(context)
    tool = _pick(part, wanted, built)
    gateway = Gateway(built, limits, faults=faults)
    try:
        observation = await gateway.call(ToolCall(name=tool, arguments=_arguments(args)), "call/0")
        ledger = gateway.settle("call/0")
    finally:
        await gateway.close()
    return {
        "observation": observation.text,
        "status": observation.status,
        "ledger": ledger,
        "documents": list(observation.documents),
        "links": list(observation.links),
        "images": [{"mime": image.mime, "bytes": len(image.data), "url": image.url} for image in observation.images],
        "truncated": observation.truncated,
        "meta": observation.meta,
    }


def _pick(part: str, wanted: str, built: "list[Tool] | Any") -> str:
    """The tool that is meant: the one that is named, the only one, or the one with the part's name."""
    names = [tool.name for tool in built]
    name = wanted or (names[0] if len(names) == 1 else part)
    if name not in names:
        raise InputError(f"{part} has the tools {', '.join(names)}; name one as {part}/{names[0]}")
    return name


def _arguments(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--args: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"--args: expected a JSON object, found {text}")
    return values
