"""Tools of other programs: any server that speaks the Model Context Protocol, started here (stdio) or reached over streamable HTTP.

Its tools become tools of ours, so the gateway's limits, tape and faults hold for them. What a server sends becomes an observation: text,
pictures, embedded resources, links; a result that the server marks as an error is the policy's to react to. The tools stay as they were
when they were mounted: a server that comes back with others ends the run, because prompts and tape would no longer fit.

A mounted server is a program that is trusted to run: it is not sandboxed here. It sees the few variables of the environment that every
program needs, and those that are named. Left out: prompts, sampling, elicitation, and the instructions that a server sends, which would
let it speak to the agent outside of a tool's description. Only `tools/mcp_sdk` knows the SDK, which is optional.
"""

import base64
import binascii
import hashlib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from spadework.core.errors import BrokenError, ConfigError, InputError
from spadework.core.events import disk_errors
from spadework.tools.tape import canonical
from spadework.tools.tool import Facts, Image, Observation, Tool, ToolContext, ToolPart, Usage, current_label, register

if TYPE_CHECKING:
    from spadework.tools.mcp_sdk.session import Endpoint, Server

__all__ = ["McpConfig", "McpTool", "observation", "write_listing"]

_NEEDED = ("PATH", "HOME", "USER", "LANG", "TMPDIR")
"""Variables that a child gets without being asked for."""
_READ: dict[str, tuple[type, ...]] = {
    "type": (str, list), "properties": (dict,), "required": (list,), "enum": (list,), "anyOf": (list,), "prefixItems": (list,),
    "additionalProperties": (bool, dict), "minimum": (int, float), "maximum": (int, float),
}  # fmt: skip
"""What our own check reads of a schema, and of which kind that must be."""
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@register("mcp")
class McpConfig(ToolPart):
    """Mount the tools of an MCP server; a recipe may have several as `mcp/NAME`."""

    name: str = Field(default="server", pattern=r"^[A-Za-z0-9_-]+$")
    """What the run calls it; `mcp/NAME` in a recipe sets it."""
    command: tuple[str, ...] = ()
    """Program and arguments of a server that is started here. `{scratch}` is a new folder for every start, gone when the server ends."""
    env: tuple[str, ...] = ()
    """Names of variables of our environment that it gets too, such as keys. The recipe never holds their values."""
    variables: dict[str, str] = Field(default={})
    """Further variables of its environment, written out; `{scratch}` as above."""
    cwd: Path | None = None
    """Its working directory; ours if not given."""
    url: str = ""
    """Address of a server that runs already."""
    headers: dict[str, str] = Field(default={})
    """Sent with every request; `${NAME}` is taken from the environment: `Bearer ${SEARCH_KEY}`."""
    include: tuple[str, ...] = ()
    """Mount these tools only; all if empty."""
    exclude: tuple[str, ...] = ()
    """Do not mount these."""
    prefix: str = ""
    """Put before the names of its tools, for servers whose tools have the same names."""
    per_trajectory: bool = False
    """A server of its own for every trajectory: its state is that of the trajectory, and is forgotten when that ends."""
    startup: float = Field(default=60.0, gt=0)
    """Seconds until it must have started and listed its tools."""
    listing: Path | None = None
    """A file with its tools, from `spadework mcp list --out` or a run's folder: nothing is started until the first call goes out, so a
    replay needs no server."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise ValueError("give either a command, which starts the server, or the url of one that runs")
        for given, needs in ((self.env, "command"), (self.variables, "command"), (self.cwd, "command"), (self.headers, "url")):
            if given and not getattr(self, needs):
                raise ValueError(f"env, variables and cwd need a command, and headers need a url; there is no {needs}")
        if self.include and self.exclude:
            raise ValueError("give include or exclude, not both")
        if self.url and urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError("url must start with http:// or https://")
        for name in self.variables:
            if _SECRET.search(name):
                raise ValueError(f"variables: {name} looks like a secret and would be saved with the recipe; name it under env")
        return self

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """The server's tools; starts it unless there is a listing.

        Raises:
            InputError: the SDK is not installed, the server does not start, or a tool that is named is not there.
        """
        folder = None if context.folder is None else context.folder / "mcp"
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        mount = _Mount(self)
        server = self._server(mount, folder)
        try:
            listing = self._list(server, keep=not self.per_trajectory) if self.listing is None else _read_listing(self.listing)
            tools = mount.tools(listing, server)
        except InputError:
            server.abandon()
            raise
        if folder is not None:
            write_listing(listing, folder / f"{self.name}.json")
        return tools

    def look(self) -> dict[str, Any]:
        """Start the server, ask what it offers, and end it.

        Returns:
            Its name as `server`, its `version`, and its `tools` as the protocol has them.

        Raises:
            InputError: as for `build`.
        """
        server = self._server(_Mount(self), None)
        try:
            return self._list(server, keep=False)
        finally:
            server.abandon()

    def _list(self, server: "Server", *, keep: bool) -> dict[str, Any]:
        try:
            return server.list(keep=keep)
        except BrokenError as error:
            raise InputError(f"mcp/{self.name}: {error}") from error

    def _server(self, mount: "_Mount", folder: Path | None) -> "Server":
        try:
            from spadework.tools.mcp_sdk.session import Server
        except ImportError:
            raise InputError(f"tool 'mcp/{self.name}' needs the MCP SDK: pip install 'spadework[mcp]'") from None
        return Server(self._endpoint(folder), check=mount.check, on_change=mount.changed)

    def _endpoint(self, folder: Path | None) -> "Endpoint":
        from spadework.tools.mcp_sdk.session import Endpoint

        for name in self.env:
            if name not in os.environ:
                raise InputError(f"mcp/{self.name}: the environment variable {name} is not set")
        env = {name: os.environ[name] for name in (*_NEEDED, *self.env) if name in os.environ} | self.variables
        headers = {name: _VARIABLE.sub(self._from_environment, value) for name, value in self.headers.items()}
        log = None if folder is None else folder / f"{self.name}.log"
        return Endpoint(self.name, self.command, env, self.cwd, self.url, headers, self.startup, log)

    def _from_environment(self, found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise InputError(f"mcp/{self.name}: the environment variable {found[1]} is not set")
        return os.environ[found[1]]


class _Mount:
    """What was mounted, against which later connections are held."""

    def __init__(self, config: McpConfig) -> None:
        self.config = config
        self._versions: dict[str, str] = {}
        self._told = False

    def tools(self, listing: dict[str, Any], server: "Server") -> list[Tool]:
        """The tools that are wanted of a listing."""
        config, there = self.config, {row["name"]: row for row in listing["tools"]}
        for name in (*config.include, *config.exclude):
            if name not in there:
                raise InputError(f"mcp/{config.name} has no tool '{name}'; its tools are: {', '.join(there) or 'none'}")
        wanted = [name for name in there if name not in config.exclude and (not config.include or name in config.include)]
        if not wanted:
            raise InputError(f"mcp/{config.name} offers no tools")
        self._versions = {name: _version(listing, there[name]) for name in wanted}
        return [McpTool(there[name], self._versions[name], config, server) for name in wanted]

    def check(self, listing: dict[str, Any]) -> None:
        """Refuse a server that is no longer the one that was mounted.

        Raises:
            InputError: it has another version, or a tool is gone or changed.
        """
        now = {row["name"]: _version(listing, row) for row in listing["tools"]}
        for name, version in self._versions.items():
            if now.get(name) != version:
                raise InputError(
                    f"mcp/{self.config.name}: '{name}' is {'gone' if name not in now else 'not what it was'} "
                    f"(mounted: {version}, now: {now.get(name, 'not there')}); start a new run with the server as it is now"
                )

    def changed(self, listing: dict[str, Any]) -> None:
        """Say once that what was mounted stays, where that is no longer what the server offers."""
        try:
            self.check(listing)
        except InputError as error:
            if not self._told:
                print(f"warning: {error}; until then this run goes on with the tools it was started with", file=sys.stderr, flush=True)
            self._told = True


class McpTool:
    """One tool of a server."""

    def __init__(self, row: dict[str, Any], version: str, config: McpConfig, server: "Server") -> None:
        """Make it callable.

        Args:
            row: the protocol's `Tool` as JSON.
            version: of the server and this tool.
            config: how the server is mounted.
            server: its connections.
        """
        self.remote, self._server = row["name"], server
        self.name = re.sub(r"[^A-Za-z0-9_-]", "_", config.prefix + row["name"])[:64]
        parameters = {**_tame(row["inputSchema"]), "type": "object"}
        parameters.setdefault("properties", {})
        self.schema = {"name": self.name, "description": row.get("description") or row.get("title") or "", "parameters": parameters}
        hints = row.get("annotations", {})
        self._safe = bool(hints.get("readOnlyHint") or hints.get("idempotentHint"))
        self._own = config.per_trajectory
        state = f"mcp/{config.name}" if config.per_trajectory else ""
        host = (urlsplit(config.url).hostname or "") if config.url else ""
        self.facts = Facts(version=version, retry=self._safe and not self._own, state=state, host=host)

    async def __call__(self, **arguments: Any) -> Observation:
        """Ask the server.

        Raises:
            ToolError: the server refuses the arguments.
            TransientError, BrokenError: it is not there, ended, or sent nonsense.
        """
        label = current_label() or "-" if self._own else ""
        return observation(await self._server.call(self.remote, arguments, label=label, safe=self._safe))

    async def settle(self, label: str) -> None:
        """End the trajectory's own server."""
        if self._own:
            await self._server.settle(label)

    async def close(self) -> None:
        """End the server; the first tool that is closed does it for all."""
        await self._server.close()


def observation(result: dict[str, Any]) -> Observation:
    """What the agent sees of a result.

    Text is shown as it stands, a resource below a line with its address, a picture as a picture and a line that stands for it. Structured
    content is shown if there is nothing else; servers repeat it as text.

    Args:
        result: the protocol's `CallToolResult` as JSON.

    Raises:
        BrokenError: a part that should be base64 is not.
    """
    lines: list[str] = []
    images: list[Image] = []
    links: list[str] = []
    documents: list[str] = []
    size = 0
    for block in result.get("content", ()):
        resource = block.get("resource", {})
        mime = block.get("mimeType") or resource.get("mimeType") or "application/octet-stream"
        uri = block.get("uri") or resource.get("uri") or ""
        text = block.get("text", resource.get("text"))
        data = block.get("data", resource.get("blob"))
        if resource:
            documents.append(uri)
        if text is not None:
            lines.append(f"[{uri}]\n{text}" if resource else text)
            size += len(text.encode())
        elif data is not None:
            raw = _decode(data)
            size += len(raw)
            name = "picture" if mime.startswith("image/") else "file"
            lines.append(f"[{name}: {' '.join(filter(None, (uri, mime)))}, {len(raw)} bytes]")
            images += [Image(mime, raw)] if mime.startswith("image/") else []
        elif uri:
            links.append(uri)
            lines.append(f"{block.get('title') or block.get('name') or uri}: {uri}")
    structured = result.get("structuredContent")
    if structured is not None and not lines:
        lines = [json.dumps(structured, ensure_ascii=False)]
        size = len(lines[0].encode())
    return Observation(
        text="\n".join(lines) or "The tool gave no output.",
        status="error" if result.get("isError") else "ok",
        documents=tuple(documents),
        images=tuple(images),
        links=tuple(links),
        usage=Usage(bytes=size),
        meta={} if structured is None else {"structured": structured},
    )


def _decode(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BrokenError(f"the MCP server sent data that is not base64: {error}") from error


def _version(listing: dict[str, Any], row: dict[str, Any]) -> str:
    """Who answers, and a hash of what it was asked to be: part of the tape's key."""
    shape = canonical({"schema": row["inputSchema"], "description": row.get("description")})
    return f"{listing['server']} {listing['version']} {hashlib.sha256(shape.encode()).hexdigest()[:16]}"


def write_listing(listing: dict[str, Any], path: Path) -> None:
    """Keep what a server offers, for `McpConfig.listing`."""
    with disk_errors(path):
        path.write_text(json.dumps(listing, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_listing(path: Path) -> dict[str, Any]:
    try:
        listing = json.loads(path.read_text(encoding="utf-8"))
        [(row["name"], row["inputSchema"]["type"]) for row in listing["tools"]]
        _ = listing["server"], listing["version"]
    except OSError as error:
        raise InputError(f"listing {path}: {error.strerror}; write it with `spadework mcp list --out {path}`") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"listing {path}: not a list of tools; write it with `spadework mcp list --out {path}`") from None
    return dict(listing)


def _tame(schema: Any) -> dict[str, Any]:
    """A schema without the parts that our own check would stumble over; the server checks what is left out.

    JSON Schema allows `true` in the place of any schema, and a list as `items`.
    """
    if not isinstance(schema, dict):
        return {}
    tame = {key: value for key, value in schema.items() if key != "$schema"}
    for key, kinds in _READ.items():
        if key in tame and not isinstance(tame[key], kinds):
            del tame[key]
    if isinstance(kind := tame.get("type"), list) and not all(isinstance(name, str) for name in kind):
        del tame["type"]
    if "properties" in tame:
        tame["properties"] = {name: _tame(inner) for name, inner in tame["properties"].items()}
    if "items" in tame:
        tame["items"] = _tame(tame["items"])
    if isinstance(tame.get("additionalProperties"), dict):
        tame["additionalProperties"] = _tame(tame["additionalProperties"])
    for key in ("anyOf", "prefixItems"):
        if key in tame:
            tame[key] = [_tame(inner) for inner in tame[key]]
    return tame
