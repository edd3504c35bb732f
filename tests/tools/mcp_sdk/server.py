"""An MCP server made with the SDK: `python server.py` speaks over stdio, `python server.py PORT` over HTTP. Two tools per page."""

import asyncio
import base64
import sys
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

PIXEL = b"\x89PNG\r\n\x1a\n picture"


def tool(name: str, description: str, *, safe: bool = False, **properties: Any) -> types.Tool:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return types.Tool(
        name=name, description=description, input_schema=schema, annotations=types.ToolAnnotations(read_only_hint=True) if safe else None
    )


TOOLS = [
    tool("echo", "Say it again.", safe=True, text={"type": "string"}),
    tool("show.all", "Every kind of content.", safe=True),
    tool("fail", "Fails.", safe=True),
    tool("refuse", "Refuses its arguments.", safe=True),
    tool("remember", "Keep a word; the answer says how many are kept.", word={"type": "string"}),
    tool("any", "Takes anything.", safe=True, **{"value": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}),
]
words: list[str] = []


async def list_tools(context: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    start = int(params.cursor or 0) if params else 0
    more = str(start + 2) if start + 2 < len(TOOLS) else None
    return types.ListToolsResult(tools=TOOLS[start : start + 2], next_cursor=more)


async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    arguments = params.arguments or {}
    match params.name:
        case "show.all":
            data = base64.b64encode(PIXEL).decode()
            return types.CallToolResult(
                content=[
                    types.TextContent(text="one"),
                    types.ImageContent(data=data, mime_type="image/png"),
                    types.EmbeddedResource(resource=types.TextResourceContents(uri="doc://a", text="page", mime_type="text/plain")),
                    types.EmbeddedResource(resource=types.BlobResourceContents(uri="doc://b", blob=data)),
                    types.ResourceLink(name="more", uri="https://more.example/"),
                    types.AudioContent(data=data, mime_type="audio/wav"),
                ],
                structured_content={"n": 1},
            )
        case "fail":
            return types.CallToolResult(content=[types.TextContent(text="no such page")], is_error=True)
        case "refuse":
            raise MCPError(types.INVALID_PARAMS, "text must be short")
        case "remember":
            words.append(arguments["word"])
            return types.CallToolResult(content=[types.TextContent(text=str(len(words)))])
    return types.CallToolResult(content=[types.TextContent(text=str(arguments.get("text", arguments.get("value", "done"))))])


server = Server("habits", version="1.0", on_list_tools=list_tools, on_call_tool=call_tool)


async def main() -> None:
    if len(sys.argv) > 1:
        import uvicorn

        config = uvicorn.Config(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
        await uvicorn.Server(config).serve()
        return
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
