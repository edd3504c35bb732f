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
from typing import Any

from spadework.core.errors import BrokenError, InputError
from spadework.core.messages import ToolCall
from spadework.tools.gateway import Gateway
from spadework.tools.json_server import JsonServer
from spadework.tools.tool import Observation

__all__ = ["VerlToolServer", "read_action"]

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


class VerlToolServer(JsonServer):
    """Serves the tools of a gateway until it is stopped. A context manager that gives the address."""

    path = "/get_observation"
    most_bytes = 64_000_000

    def __init__(self, gateway: Gateway, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Take the tools; nothing listens yet.

        Args:
            gateway: has the tools; it is closed when the server stops.
            host: which address to listen on. Another one than loopback lets others run these tools.
            port: 0 takes a free one.
        """
        super().__init__(host=host, port=port)
        self.gateway = gateway
        self._shown: dict[str, tuple[Observation, ...]] = {}
        # All calls run in one event loop, to which the gateway's queues belong; the threads of the HTTP server only wait for it.
        self._loop = asyncio.new_event_loop()
        self._caller: threading.Thread | None = None

    def start(self) -> str:
        """See `JsonServer`."""
        address = super().start()
        self._caller = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._caller.start()
        return address

    def stop(self) -> None:
        """Stop listening and close the gateway."""
        super().stop()
        if self._caller is not None:
            asyncio.run_coroutine_threadsafe(self.gateway.close(), self._loop).result(timeout=60)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._caller.join()
            self._loop.close()
            self._caller = None

    def health(self) -> dict[str, Any]:
        """Names of the tools."""
        return {"tools": list(self.gateway.tools)}

    def answer(self, body: Any) -> dict[str, Any]:
        """See `JsonServer`."""
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
