"""Our tools for others: what stands behind a gateway, offered by the Model Context Protocol over stdio or streamable HTTP.

Every call passes the gateway like an agent's: arguments are checked, limits hold, a broken tool is told apart from a wrong call. Each call
is a trajectory of its own, settled when it is answered, so nothing piles up.
"""

import base64
import hmac
import itertools
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from spadework.core.errors import SpadeworkError
from spadework.core.messages import ToolCall
from spadework.tools.gateway import Gateway
from spadework.tools.tool import Observation

__all__ = ["offer", "over_http", "over_stdio"]

_MAX_SESSIONS = 256

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


def offer(gateway: Gateway, *, version: str, instructions: str = "") -> Server[Any]:
    """An MCP server with the tools of a gateway.

    Args:
        gateway: the door that every call passes.
        version: of the server.
        instructions: what a client may tell its model about the server.
    """
    # Nothing that these tools do changes anything, so a client may send a call again.
    hints = types.ToolAnnotations(read_only_hint=True)
    listed = [
        types.Tool(name=schema["name"], description=schema["description"], input_schema=schema["parameters"], annotations=hints)
        for schema in gateway.schemas
    ]
    numbers = itertools.count()

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in gateway.tools:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool '{params.name}'. The tools are: {', '.join(gateway.tools)}.")
        label = f"mcp/{next(numbers)}"
        try:
            observation = await gateway.call(ToolCall(name=params.name, arguments=params.arguments or {}), label)
        except SpadeworkError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from error
        finally:
            gateway.settle(label)
        return _result(observation)

    return Server("spadework", version=version, instructions=instructions, on_list_tools=list_tools, on_call_tool=call_tool)


def _result(observation: Observation) -> types.CallToolResult:
    content: list[types.ContentBlock] = [types.TextContent(text=observation.text)]
    for image in observation.images:
        if image.data:
            content.append(types.ImageContent(data=base64.b64encode(image.data).decode(), mime_type=image.mime))
        else:
            content.append(types.ResourceLink(name=image.url, uri=image.url, mime_type=image.mime))
    return types.CallToolResult(
        content=content, structured_content=observation.meta.get("structured"), is_error=observation.status == "error"
    )


async def over_stdio(server: Server[Any]) -> None:
    """Serve the program that started us, until it closes our standard input."""
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())


async def over_http(server: Server[Any], listener: socket.socket, *, key: str = "") -> None:
    """Serve over streamable HTTP at `/mcp`, until it is interrupted.

    Args:
        server: from `offer`.
        listener: a bound socket.
        key: asked for as `Authorization: Bearer KEY`; nothing is asked for if empty.
    """
    app: App = server.streamable_http_app(host=listener.getsockname()[0], max_sessions=_MAX_SESSIONS)
    config = uvicorn.Config(_guarded(app, key) if key else app, log_level="warning", timeout_graceful_shutdown=3)
    await uvicorn.Server(config).serve(sockets=[listener])


def _guarded(app: App, key: str) -> App:
    wanted = f"Bearer {key}".encode()

    async def guarded(scope: Scope, receive: Any, send: Any) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] == "http" and not hmac.compare_digest(given, wanted):
            await send({"type": "http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Bearer")]})
            await send({"type": "http.response.body", "body": b"a key is needed: Authorization: Bearer KEY\n"})
            return
        await app(scope, receive, send)

    return guarded
