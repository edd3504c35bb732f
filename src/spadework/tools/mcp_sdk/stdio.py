"""An MCP server as a child process: one JSON-RPC message per line on its standard input and output.

The SDK has such a transport too. Ours bounds what a server may send: a line has a longest length, and only the first part of what it
writes to standard error is kept. The child gets the environment that it is given and nothing else, and is the leader of a process group
of its own, so whatever it has started ends with it: its input is closed, then SIGTERM, then SIGKILL, each with a deadline.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import mcp_types
from mcp.shared.message import SessionMessage

__all__ = ["MAX_MESSAGE", "Ending", "stdio_transport"]

MAX_MESSAGE = 16 * 2**20
"""Bytes of one message."""
_MAX_LOG = 256 * 2**10
"""Bytes of standard error that are kept of one process."""
_TAIL = 400
"""Bytes of standard error that an error message shows."""
_GRACE = 2.0
"""Seconds for a server to end by itself, and again after SIGTERM."""


class Ending:
    """How a child ended; filled in while it runs."""

    def __init__(self) -> None:
        self.ended = False
        """Whether no further message can come or go."""
        self.reason = ""
        self.tail = b""
        """The last of its standard error."""

    def end(self, reason: str) -> None:
        """The first reason stands."""
        self.ended = True
        self.reason = self.reason or reason

    def __str__(self) -> str:
        said = " ".join(self.tail.decode(errors="replace").split())
        return self.reason + (f"; it said: {said}" if said else "")


@asynccontextmanager
async def stdio_transport(
    command: Sequence[str], env: Mapping[str, str], cwd: Path | None, log: Path | None, ending: Ending
) -> AsyncIterator[tuple[Any, Any]]:
    """Start a server and yield the streams that the SDK's client reads and writes.

    Args:
        command: program and arguments.
        env: its whole environment.
        cwd: its working directory; ours if None.
        log: what it writes to standard error is added to this file.
        ending: told when and why the connection ended.

    Raises:
        OSError: it cannot be started.
    """
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, env=dict(env), cwd=cwd, start_new_session=True, limit=MAX_MESSAGE
    )
    incoming, read_stream = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write_stream, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    errors = asyncio.ensure_future(_keep_errors(child, log, ending))
    tasks = [asyncio.ensure_future(_receive(child, incoming, errors, ending)), asyncio.ensure_future(_send(child, outgoing, incoming))]
    try:
        yield read_stream, write_stream
    finally:
        with anyio.CancelScope(shield=True):
            ending.end("it was closed")
            for stream in (read_stream, write_stream):
                stream.close()
            await _stop(child)
            for task in (*tasks, errors):
                task.cancel()
            await asyncio.wait([*tasks, errors])
            for end in (incoming, outgoing):
                end.close()


async def _receive(child: asyncio.subprocess.Process, incoming: Any, errors: asyncio.Future[None], ending: Ending) -> None:
    assert child.stdout is not None
    broken = (anyio.BrokenResourceError, anyio.ClosedResourceError)
    async with incoming:
        try:
            while line := await child.stdout.readline():
                if line.strip():
                    await incoming.send(_parse(line))
            # What it said last explains its end, and its exit code is known a moment after its output has ended.
            with suppress(TimeoutError):
                async with asyncio.timeout(_GRACE):
                    await asyncio.shield(errors)
                    await child.wait()
            code = child.returncode
            ending.end("it closed its output" if code is None else f"it ended with exit code {code}")
        except ValueError:
            ending.end(f"it sent a message of more than {MAX_MESSAGE >> 20} MiB")
        except broken:
            ending.end("it was closed")


def _parse(line: bytes) -> SessionMessage | Exception:
    # The session passes an exception on to its message handler; calls go on.
    try:
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error


async def _send(child: asyncio.subprocess.Process, outgoing: Any, incoming: Any) -> None:
    assert child.stdin is not None
    try:
        async for message in outgoing:
            child.stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await child.stdin.drain()
    except (ConnectionError, anyio.ClosedResourceError):
        # Nothing will be answered any more; the reader says why.
        with suppress(anyio.ClosedResourceError):
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGTERM)


async def _keep_errors(child: asyncio.subprocess.Process, log: Path | None, ending: Ending) -> None:
    assert child.stderr is not None
    kept = 0
    while chunk := await child.stderr.read(2**16):
        ending.tail = (ending.tail + chunk)[-_TAIL:]
        if log is not None and kept < _MAX_LOG:
            with suppress(OSError), log.open("ab") as file:
                file.write(chunk[: _MAX_LOG - kept])
            kept += len(chunk)


async def _stop(child: asyncio.subprocess.Process) -> None:
    assert child.stdin is not None
    child.stdin.close()
    for step in (signal.SIGTERM, signal.SIGKILL):
        if await _gone(child):
            break
        _signal(child, step)
    await _gone(child)
    # The group outlives its leader where the server has left children behind.
    _signal(child, signal.SIGKILL)
    # A descendant that left the group may still hold our ends of the pipes.
    child._transport.close()  # type: ignore[attr-defined]  # asyncio offers no other way


async def _gone(child: asyncio.subprocess.Process) -> bool:
    """Whether it ends in time. Not `wait()`, which also waits for the end of pipes that a grandchild may hold."""
    deadline = asyncio.get_running_loop().time() + _GRACE
    while child.returncode is None and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)
    return child.returncode is not None


def _signal(child: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
