"""Our tools under the batch contract of verl-tool (`verl_tool.py`), for trainers that speak it.

    with VerlToolServer(gateway) as url:      # POST url/get_observation, GET url/health

An action is the text that the policy wrote. The last call in it counts, in one of two forms:

    <search> who built it </search>                                          a tool with one required text
    <tool_call>{"name": "search", "arguments": {"query": "..."}}</tool_call>   any tool (Hermes)

`valids` is false where the policy erred, with what would be right as the observation. Where the infrastructure failed the answer is
`{"obs": ..., "broken": why}` with `done` and not valid: the contract has no status of its own, and a trainer that ignores it would punish
the policy. `finish` closes the account of a trajectory. Items of one batch run together; each call passes the gateway, with its deadline.
A request that is not of the contract is answered with status 400 and one line. It listens on 127.0.0.1 unless told otherwise.
"""

import asyncio
import base64
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from spadework.core.errors import BrokenError, InputError, SpadeworkError
from spadework.core.messages import ToolCall
from spadework.tools.gateway import Gateway
from spadework.tools.tool import Observation

__all__ = ["VerlToolServer", "read_action"]

_MOST_BYTES = 64_000_000
_MOST_ITEMS = 4096
_COLUMNS: dict[str, tuple[type, Any]] = {"finish": (bool, False), "is_last_step": (bool, False), "extra_fields": (dict, {})}


def read_action(action: str, gateway: Gateway) -> ToolCall:
    """The last call in a text.

    Returns:
        The call; one with an `error` for the model if there is none or it cannot be read.
    """
    tags = {name: key for name, tool in gateway.tools.items() if (key := _only_text(tool.schema["parameters"]))}
    names = "|".join(map(re.escape, [*tags, "tool_call"]))
    found = list(re.finditer(rf"<({names})>((?:(?!<(?:{names})>).)*?)</\1>", action, re.DOTALL))
    if not found:
        forms = [f"<{name}>...</{name}>" for name in tags] or ['<tool_call>{"name": ..., "arguments": {...}}</tool_call>']
        return ToolCall(name="", error=f"There is no call in this. Write {' or '.join(forms)}.")
    name, text = found[-1].groups()
    if name in tags:
        return ToolCall(name=name, arguments={tags[name]: text.strip()})
    try:
        values = json.loads(text)
        return ToolCall(name=values["name"], arguments=values.get("arguments") or {})
    except (ValueError, KeyError, TypeError, AttributeError):
        return ToolCall(name="", error='A tool call is a JSON object {"name": ..., "arguments": {...}}; this one cannot be read.')


def _only_text(parameters: dict[str, Any]) -> str | None:
    """The argument that a tag carries: the only required one, a text."""
    required = parameters.get("required") or []
    return required[0] if len(required) == 1 and parameters["properties"][required[0]].get("type") == "string" else None


class VerlToolServer:
    """Serves the tools of a gateway until it is stopped. A context manager that gives the address."""

    def __init__(self, gateway: Gateway, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Take the tools; nothing listens yet.

        Args:
            gateway: has the tools; it is closed when the server stops.
            host: which address to listen on. Another one than loopback lets others run these tools.
            port: 0 takes a free one.
        """
        self.gateway, self.host, self.port = gateway, host, port
        self._shown: dict[str, tuple[Observation, ...]] = {}
        self._loop = asyncio.new_event_loop()
        self._threads: list[threading.Thread] = []
        self._server: _Listener | None = None

    def start(self) -> str:
        """Listen, and return the address without a final slash.

        Raises:
            InputError: the port is taken or may not be used.
        """
        try:
            self._server = _Listener((self.host, self.port), type("Handler", (_Handler,), {"served": self}))
        except OSError as error:
            raise InputError(
                f"cannot listen on {self.host}:{self.port}: {error.strerror}; choose another port or 0 for a free one"
            ) from None
        # All calls run in one event loop, to which the gateway's queues belong; the threads of the HTTP server only wait for it.
        self._threads = [
            threading.Thread(target=self._loop.run_forever, daemon=True),
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return f"http://{self.host}:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Stop listening and close the gateway."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        asyncio.run_coroutine_threadsafe(self.gateway.close(), self._loop).result(timeout=60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join()
        self._loop.close()
        self._server = None

    def __enter__(self) -> str:
        """Start."""
        return self.start()

    def __exit__(self, *exception: object) -> None:
        """Stop."""
        self.stop()

    def answer(self, body: Any) -> dict[str, Any]:
        """The answer to a request, from any thread.

        Raises:
            InputError: the request is not of the contract.
        """
        items = _read(body)
        return asyncio.run_coroutine_threadsafe(self._answer(items), self._loop).result()

    async def _answer(self, items: list[tuple[str, str, bool]]) -> dict[str, Any]:
        answers = await asyncio.gather(*(self._one(*item) for item in items))
        return {name: [answer[place] for answer in answers] for place, name in enumerate(("observations", "dones", "valids"))}

    async def _one(self, trajectory: str, action: str, finish: bool) -> tuple[str | dict[str, Any], bool, bool]:
        shown = self._shown.get(trajectory, ())
        if finish:
            self._shown.pop(trajectory, None)
            self.gateway.settle(trajectory)
            return "", True, True
        try:
            seen = await self.gateway.call(read_action(action, self.gateway), trajectory, shown)
        except BrokenError as error:
            return {"obs": "", "broken": str(error)}, True, False
        self._shown[trajectory] = (*shown, seen)
        return _shown(seen), False, seen.status == "ok"


def _shown(seen: Observation) -> str | dict[str, Any]:
    """Text; an object where there are pictures or a reward."""
    images = [image.url or f"data:{image.mime};base64,{base64.b64encode(image.data).decode()}" for image in seen.images]
    facts = ({"image": images} if images else {}) | ({"reward": seen.meta["reward"]} if "reward" in seen.meta else {})
    return {"obs": seen.text, **facts} if facts else seen.text


def _read(body: Any) -> list[tuple[str, str, bool]]:
    """Per item trajectory, action, and whether it ends the trajectory.

    Raises:
        InputError: the request is not of the contract; names the column.
    """
    if not isinstance(body, dict):
        raise InputError("expected an object with trajectory_ids and actions")
    ids = body.get("trajectory_ids")
    # verl-tool's agent loop sends a bare id when it closes a trajectory.
    ids = [ids] if isinstance(ids, str) else ids
    columns: dict[str, list[Any]] = {"trajectory_ids": _column("trajectory_ids", ids, str, None)}
    count = len(columns["trajectory_ids"])
    if not 1 <= count <= _MOST_ITEMS:
        raise InputError(f"trajectory_ids: expected 1 to {_MOST_ITEMS} items, found {count}")
    columns["actions"] = _column("actions", body.get("actions"), str, count)
    for name, (kind, default) in _COLUMNS.items():
        columns[name] = _column(name, body[name], kind, count) if body.get(name) is not None else [default] * count
    finish = [bool(end or extra.get("finish")) for end, extra in zip(columns["finish"], columns["extra_fields"], strict=True)]
    return list(zip(columns["trajectory_ids"], columns["actions"], finish, strict=True))


def _column(name: str, values: Any, kind: type, count: int | None) -> list[Any]:
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise InputError(f"{name}: expected a list of {kind.__name__}")
    if count is not None and len(values) != count:
        raise InputError(f"{name}: {len(values)} items for {count} trajectories")
    return values


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    """A trainer connects with all its trajectories at once."""


class _Handler(BaseHTTPRequestHandler):
    served: VerlToolServer
    protocol_version = "HTTP/1.1"
    timeout = 120
    wbufsize = -1
    """One packet for head and body; two would wait for each other's acknowledgement."""

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, {"status": "healthy", "tools": list(self.served.gateway.tools)})
        else:
            self._send(404, {"detail": "POST /get_observation, or GET /health"})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MOST_BYTES:
            self.close_connection = True
            return self._send(413, {"detail": f"a request has a length of at most {_MOST_BYTES:,} bytes"})
        raw = self.rfile.read(int(length))
        if self.path.rstrip("/") != "/get_observation":
            return self._send(404, {"detail": "POST /get_observation, or GET /health"})
        try:
            self._send(200, self.served.answer(json.loads(raw)))
        except (ValueError, InputError) as error:
            self._send(400, {"detail": " ".join(str(error).split())})
        except SpadeworkError as error:
            self._send(500, {"detail": " ".join(str(error).split())})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
