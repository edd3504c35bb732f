"""Mounted servers behind a gateway, and a look at what they leave behind."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spadework.core.messages import ToolCall
from spadework.tools.gateway import Gateway, GatewayConfig
from spadework.tools.mcp import McpConfig
from spadework.tools.tool import Observation, ToolContext

HERE = Path(__file__).parent

Mount = Callable[..., Gateway]


@pytest.fixture
def rough(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Settings for a server with a bad habit; its starts are counted in `tmp_path/starts`."""

    def settings(habit: str = "none") -> dict[str, Any]:
        return {"name": "rough", "command": [sys.executable, "-S", str(HERE / "rough.py"), habit, str(tmp_path / "starts")]}

    return settings


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a server; at the end everything is closed."""
    opened: list[Gateway] = []

    def build(settings: dict[str, Any], *, folder: Path | None = None, recorder: Any = None, **limits: Any) -> Gateway:
        tools = McpConfig.parse(settings, source="test").build(ToolContext(folder=folder))
        opened.append(Gateway(tools, GatewayConfig.parse({"timeout": 30, "backoff": 0, **limits}, source="test"), recorder=recorder))
        return opened[-1]

    yield build
    for gateway in opened:
        asyncio.run(gateway.close())


def ask(gateway: Gateway, name: str, label: str = "task/0", **arguments: Any) -> Observation:
    return asyncio.run(gateway.call(ToolCall(name=name, arguments=arguments), label))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def started(tmp_path: Path) -> list[int]:
    """Process ids of all starts so far."""
    return [int(line) for line in (tmp_path / "starts").read_text().splitlines()]


@pytest.fixture(scope="session")
def http_server() -> Iterator[str]:
    """The SDK's server over streamable HTTP."""
    pytest.importorskip("mcp")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    child = subprocess.Popen([sys.executable, str(HERE / "server.py"), str(port)], env={"PATH": os.environ["PATH"]})
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert child.poll() is None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        child.terminate()
        child.wait(10)
