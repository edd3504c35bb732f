"""Connections to one MCP server, through the official SDK.

The SDK's sessions belong to the task and the event loop that opened them, and a run uses several loops one after the other. So all
connections of a server live in a thread with a loop of its own, each held open by one task; calls come in from any loop and are
cancelled with their caller. Every await has a deadline: starting and listing the one of `Endpoint.startup`, a call that of the gateway,
closing those of the transport.

A server that has ended is started again by the next call. A call in whose middle it ended is sent once more if that is safe. Three calls
in a row without an answer count as an end too: a server that hangs is replaced.
"""

import asyncio
import atexit
import logging
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import mcp_types
import pydantic
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from spadework.core.errors import BrokenError, SpadeworkError, ToolError
from spadework.tools.http import retry_after
from spadework.tools.mcp_sdk.stdio import MAX_MESSAGE, Ending, stdio_transport
from spadework.tools.tool import TransientError

__all__ = ["Endpoint", "Server"]

# The SDK logs what it then also raises; programs that want its log add a handler.
logging.getLogger("mcp").addHandler(logging.NullHandler())
logging.getLogger("client").addHandler(logging.NullHandler())

_MAX_PAGES = 100
"""Pages of a list of tools; a server whose list never ends must not hang us."""
_HANGS_AFTER = 3
"""Calls in a row without an answer after which a server is replaced."""
_MAX_ERROR = 2000
"""Characters of an error that a server may show the model."""
_CLOSING = 8.0
"""Seconds for all connections of a server to end; below the gateway's own deadline."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server is, or how it is started."""

    name: str
    """For messages."""
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of the child."""
    cwd: Path | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    startup: float = 60.0
    """Seconds until it must have started and listed its tools."""
    log: Path | None = None
    """File for its standard error."""


class _Ended(BrokenError):
    """The connection ended in the middle of a call."""


class _Bounded(httpx2.AsyncByteStream):
    """The answer to one request, which ends the connection when it is longer than any message may be."""

    def __init__(self, stream: Any, ending: Ending) -> None:
        self._stream, self._ending = stream, ending

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_MESSAGE:
                self._ending.end(f"it sent a message of more than {MAX_MESSAGE >> 20} MiB")
                raise httpx2.ReadError(str(self._ending))
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Connection:
    """One session with a server; `open` and `close` are the only ways in and out of its task."""

    def __init__(self, endpoint: Endpoint, on_change: Callable[[dict[str, Any]], None]) -> None:
        self.endpoint, self._on_change = endpoint, on_change
        self.ending = Ending()
        self.listing: dict[str, Any] = {}
        self._client: Client | None = None
        self._refused: tuple[int, float | None] | None = None
        self._unanswered = 0
        self._relisting: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(self._hold())

    async def open(self) -> None:
        """Wait until the server has listed its tools.

        Raises:
            TransientError: it did not start, or not in time.
        """
        await asyncio.shield(self._ready)

    async def close(self) -> None:
        self.ending.end("it was closed")
        self._stop.set()
        await asyncio.wait([self._task])

    async def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One call.

        Returns:
            `CallToolResult` as JSON.

        Raises:
            ToolError, BrokenError, TransientError: as for tools.
            _Ended: the server ended, or hangs.
        """
        assert self._client is not None
        try:
            result = await self._client.call_tool(tool, arguments)
        except MCPError as error:
            raise self._sorted(error) from error
        except (pydantic.ValidationError, RuntimeError) as error:
            raise BrokenError(f"{self._named} sent a result that is not valid: {_short(str(error))}") from error
        except asyncio.CancelledError:
            self._unanswered += 1
            if self._unanswered >= _HANGS_AFTER:
                self.ending.end(f"{self._unanswered} calls in a row had no answer")
                self._stop.set()
            raise
        self._unanswered = 0
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    @property
    def _named(self) -> str:
        return f"the MCP server '{self.endpoint.name}'"

    def _sorted(self, error: MCPError) -> SpadeworkError:
        """Who is to blame for an error."""
        if self.ending.ended:
            return _Ended(f"{self._named} ended in the middle of the call: {self.ending}")
        self._unanswered = 0
        if error.message == "Server returned an error response" and self._refused is not None:
            return self._by_status(*self._refused)
        text = _short(error.message)
        if error.code == mcp_types.INVALID_PARAMS:
            return ToolError(text)
        if self.endpoint.url and error.message == "Session terminated":
            self.ending.end("the session was terminated")
            return _Ended(f"{self._named} has forgotten the session")
        if error.code in (mcp_types.INTERNAL_ERROR, mcp_types.REQUEST_TIMEOUT) or (
            self.endpoint.url and error.code == mcp_types.CONNECTION_CLOSED
        ):
            return TransientError(f"{self._named}: {text}")
        return BrokenError(f"{self._named}: {text} (code {error.code})")

    def _by_status(self, status: int, wait: float | None) -> BrokenError:
        if status in (401, 402, 403, 407):
            return BrokenError(f"{self._named}: HTTP {status}; is the key set, right and not used up?")
        if status in (408, 425, 429) or status >= 500:
            return TransientError(f"{self._named}: HTTP {status}", retry_after=wait)
        return BrokenError(f"{self._named}: HTTP {status}")

    async def _hold(self) -> None:
        """Hold the connection open until `close`; its contexts are entered and left here, in one task."""
        scratch = Path(tempfile.mkdtemp(prefix="spadework-mcp-"))
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self.endpoint.startup):
                    transport = await self._transport(stack, scratch)
                    name = mcp_types.Implementation(name="spadework", version="1")
                    self._client = await stack.enter_async_context(
                        Client(transport, client_info=name, message_handler=self._heard, cache=None)
                    )
                    self.listing = await self._list(self._client)
                self._ready.set_result(None)
                await self._stop.wait()
                if self._relisting is not None:
                    self._relisting.cancel()
        except TimeoutError:
            self._failed(f"did not start and list its tools within {self.endpoint.startup:g} s")
        except (Exception, asyncio.CancelledError) as error:
            self._failed(_cause(error))
        finally:
            self.ending.end("it was closed")
            shutil.rmtree(scratch, ignore_errors=True)

    def _failed(self, why: str) -> None:
        if self._ready.done():
            self.ending.end(why)
            return
        said = str(self.ending) if self.ending.ended and self.ending.reason != "it was closed" else ""
        if self._refused is not None:
            error = self._by_status(*self._refused)
        elif said:
            error = TransientError(f"{self._named} did not start: {said}")
        else:
            said = " ".join(self.ending.tail.decode(errors="replace").split())
            error = TransientError(f"{self._named}: {why}" + (f"; it said: {said}" if said else ""))
        self.ending.end(why)
        self._ready.set_exception(error)
        self._ready.exception()  # somebody may have stopped waiting

    async def _transport(self, stack: AsyncExitStack, scratch: Path) -> Any:
        where = self.endpoint
        if where.url:
            timeout = httpx2.Timeout(10.0, read=None)  # deadlines are the caller's
            http = httpx2.AsyncClient(headers=dict(where.headers), timeout=timeout, event_hooks={"response": [self._look_at]})
            return streamable_http_client(where.url, http_client=await stack.enter_async_context(http))
        command = [part.replace("{scratch}", str(scratch)) for part in where.command]
        env = {name: value.replace("{scratch}", str(scratch)) for name, value in where.env.items()}
        return stdio_transport(command, env, where.cwd, where.log, self.ending)

    async def _look_at(self, response: httpx2.Response) -> None:
        # The SDK reports every status from 400 up as the same error. 400, 404 and 405 are part of how it finds out what a server speaks.
        if response.request.method == "POST" and response.status_code >= 401 and response.status_code not in (404, 405):
            self._refused = response.status_code, retry_after(response.headers.get("retry-after"))
        if response.request.method == "POST":  # what a GET opens stays open for notifications, which may add up
            response.stream = _Bounded(response.stream, self.ending)

    async def _list(self, client: Client) -> dict[str, Any]:
        """Name and version of the server, and its tools as they came, page by page."""
        tools: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in page.tools]
            cursor = page.next_cursor
            if not cursor:
                info = client.server_info
                return {"server": info.name if info else "", "version": info.version if info else "", "tools": tools}
        raise BrokenError(f"its list of tools has more than {_MAX_PAGES} pages")

    async def _heard(self, message: Any) -> None:
        # One look at a time, whatever number of notifications there are; and not in here, where its answer could not be heard.
        changed = isinstance(message, mcp_types.ToolListChangedNotification)
        if changed and self._ready.done() and (self._relisting is None or self._relisting.done()):
            self._relisting = asyncio.ensure_future(self._look_again())

    async def _look_again(self) -> None:
        assert self._client is not None
        with suppress(MCPError, BrokenError, TimeoutError, pydantic.ValidationError):
            async with asyncio.timeout(self.endpoint.startup):
                self._on_change(await self._list(self._client))


class Server:
    """A mounted server: its connections, one for all calls or one per trajectory."""

    def __init__(self, endpoint: Endpoint, *, check: Callable[[dict[str, Any]], None], on_change: Callable[[dict[str, Any]], None]) -> None:
        """Nothing is started yet.

        Args:
            endpoint: where it is.
            check: gets what each new connection lists; raises if that is not what was mounted.
            on_change: gets what a living connection lists after it has said that its tools have changed.
        """
        self.endpoint, self._check, self._on_change = endpoint, check, on_change
        self._connections: dict[str, _Connection] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def list(self, *, keep: bool) -> dict[str, Any]:
        """What the server offers; blocks until it has started.

        Args:
            keep: hold the connection open for calls.

        Returns:
            `server`, `version` and `tools` as the server sent them.

        Raises:
            BrokenError: it did not start in time.
        """

        async def once() -> dict[str, Any]:
            try:
                return (await self._connection("")).listing
            finally:
                if not keep:
                    await self._close_one("")

        return self._submit(once()).result()

    async def call(self, tool: str, arguments: dict[str, Any], *, label: str, safe: bool) -> dict[str, Any]:
        """Carry out a call.

        Args:
            tool: as the server names it.
            arguments: as the model gave them.
            label: of the connection; empty for the common one. A labelled one has state, so it is never replaced silently.
            safe: the call may be sent twice.

        Returns:
            The protocol's `CallToolResult` as JSON.

        Raises:
            ToolError, BrokenError, TransientError: as for tools.
        """
        return await asyncio.wrap_future(self._submit(self._call(tool, arguments, label, safe)))

    async def _call(self, tool: str, arguments: dict[str, Any], label: str, safe: bool) -> dict[str, Any]:
        if label and (known := self._connections.get(label)) is not None and known.ending.ended:
            raise BrokenError(f"the MCP server '{self.endpoint.name}' of this trajectory has ended, and its state with it: {known.ending}")
        connection = await self._connection(label)
        try:
            return await connection.call(tool, arguments)
        except _Ended as end:
            if label:
                raise BrokenError(f"{end}; the state of this trajectory is lost") from end
            if not safe:
                raise
        connection = await self._connection(label)
        try:
            return await connection.call(tool, arguments)
        except _Ended as end:
            raise BrokenError(f"{end}; it had been started again for this call") from end

    async def _connection(self, label: str) -> _Connection:
        """The living connection of a label; opened if there is none."""
        connection = self._connections.get(label)
        if connection is None or connection.ending.ended:
            if connection is not None:
                connection._stop.set()
            connection = self._connections[label] = _Connection(self.endpoint, self._on_change)
        await connection.open()
        self._check(connection.listing)
        return connection

    async def settle(self, label: str) -> None:
        """Close the connection of a trajectory."""
        if self._loop is not None and not self._closed:
            await asyncio.wrap_future(self._submit(self._close_one(label)))

    async def _close_one(self, label: str) -> None:
        if (connection := self._connections.pop(label, None)) is not None:
            await connection.close()

    async def close(self) -> None:
        """Close everything. The server can not be used afterwards."""
        if self._loop is None or self._closed:
            return
        future = self._submit(self._close_all())
        self._closed = True
        await asyncio.wrap_future(future)
        self._join()

    async def _close_all(self) -> None:
        # All tasks, not only those of the newest connections: a replaced one may still be ending.
        for connection in self._connections.values():
            connection._stop.set()
        others = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
        if others:
            _, late = await asyncio.wait(others, timeout=_CLOSING)
            for task in late:
                task.cancel()

    def abandon(self) -> None:
        """Close everything from outside of any event loop, and wait for it: a mount that failed, or the end of the program."""
        if self._loop is not None and not self._closed:
            future = self._submit(self._close_all())
            self._closed = True
            future.result(_CLOSING + 1)
            self._join()

    def _join(self) -> None:
        atexit.unregister(self.abandon)
        loop, thread = self._loop, self._thread
        assert loop is not None and thread is not None
        loop.call_soon_threadsafe(loop.stop)
        thread.join(1.0)

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        if self._closed:
            coroutine.close()
            raise BrokenError(f"the MCP server '{self.endpoint.name}' is closed")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(self._loop,), name=f"mcp {self.endpoint.name}", daemon=True)
            self._thread.start()
            atexit.register(self.abandon)
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _cause(error: BaseException) -> str:
    """The innermost error of a group, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MCPError | SpadeworkError):
        return _short(str(error))
    return _short(f"{type(error).__name__}: {error}".rstrip(": "))


def _short(text: str) -> str:
    return text if len(text) <= _MAX_ERROR else f"{text[:_MAX_ERROR]} ..."
