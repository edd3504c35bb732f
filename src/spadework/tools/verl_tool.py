"""The batch contract of verl-tool's tool servers, and such a server as our tools.

verl-tool (arXiv 2509.01055; `verl_tool/servers/tool_server.py`) puts tools behind one address:

    POST /get_observation {trajectory_ids[], actions[], finish[], is_last_step[], extra_fields[]} -> {observations[], dones[], valids[]}

An action is the text that the policy wrote; the server finds the tool that can parse it, and keeps an environment per trajectory until
`finish`. An observation is text, or `{obs, reward, image, invalid_reason, ...}`. Here each tool writes its action by a template; `valids`
false is the policy's mistake; a reward, and that the environment is done, are noted under `meta`.

A server of verl-tool answers with an observation, `done` and an `error` even where it failed itself; such an answer breaks the trajectory
here instead of becoming a bad one. Our own server (`verl_tool_server.py`) says `broken`. A stateful call is not sent twice.
"""

import asyncio
import base64
import uuid
from collections.abc import Sequence
from typing import Any

import httpx
from pydantic import Field, field_validator

from spadework.core.config import Config
from spadework.core.errors import BrokenError, ToolError
from spadework.tools.http import send
from spadework.tools.tool import Facts, Image, Observation, Tool, ToolContext, ToolPart, Usage, current_label, register

__all__ = ["VerlAction", "VerlToolConfig", "observations"]

Answer = tuple[str | dict[str, Any], bool, bool]


class VerlAction(Config):
    """One tool that a server of verl-tool understands."""

    description: str
    """For the model."""
    argument: str = "action"
    """Name of its one argument, a text."""
    about: str = "What to do."
    """Describes the argument."""
    template: str = "{}"
    """The action's text; `{}` is the argument. For example `<search>{}</search>`, or a fenced block of Python."""

    @field_validator("template")
    @classmethod
    def _one_place(cls, template: str) -> str:
        if template.count("{}") != 1:
            raise ValueError("write {} once, where the argument stands")
        return template


@register("verl-tool")
class VerlToolConfig(ToolPart):
    """Tools behind a server of verl-tool (`POST /get_observation`)."""

    url: str
    """Of the server, for example `http://127.0.0.1:5000`."""
    actions: dict[str, VerlAction] = Field(min_length=1)
    """The tools by the names that the model sees."""
    stateful: bool = True
    """Whether the server keeps an environment per trajectory. With False a call that failed may be sent again."""
    extra_fields: dict[str, Any] = Field(default_factory=dict)
    """Sent with every action."""

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """One tool per action, on one connection."""
        server = _Server(self)
        return [_Action(name, action, server) for name, action in self.actions.items()]


class _Server:
    """A server, and the names of trajectories there."""

    def __init__(self, config: VerlToolConfig) -> None:
        self.config = config
        self.url = config.url.rstrip("/").removesuffix("/get_observation") + "/get_observation"
        self.names: dict[str, str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.facts = Facts(
            version=f"{config.actions!r} {config.extra_fields!r}",
            state=f"verl-tool {self.url}" if config.stateful else "",
            retry=not config.stateful,
            host=httpx.URL(self.url).host,
        )

    def name(self, label: str) -> str:
        """What the trajectory is called at the server: new for every rollout, because labels come back."""
        return self.names.setdefault(label, f"{label}#{uuid.uuid4().hex[:12]}")

    def _connected(self) -> httpx.AsyncClient:
        """The client of the running event loop, to which its connections belong."""
        if (loop := asyncio.get_running_loop()) is not self._loop:
            self._loop = loop
            self._client = httpx.AsyncClient(timeout=None, trust_env=False)  # the gateway has the deadline
        return self._client

    async def close(self) -> None:
        if self._loop is asyncio.get_running_loop():
            await self._client.aclose()
            self._loop = None

    async def act(self, label: str, action: str) -> tuple[Answer, int]:
        return await self._post(self.name(label), action, finish=False)

    async def finish(self, label: str) -> None:
        """Tell the server that a trajectory has ended."""
        if (name := self.names.pop(label, None)) is not None:
            await self._post(name, "", finish=True)

    async def _post(self, name: str, action: str, *, finish: bool) -> tuple[Answer, int]:
        body = {
            "trajectory_ids": [name],
            "actions": [action],
            "finish": [finish],
            "is_last_step": [finish],
            "extra_fields": [self.config.extra_fields],
        }
        response = await send(self._connected(), "POST", self.url, json=body)
        if response.status_code != 200:
            raise BrokenError(f"{self.url}: HTTP {response.status_code}: {response.text[:200]}")
        (answer,) = observations(response, 1)
        return answer, len(response.content)


def observations(response: httpx.Response, count: int) -> list[Answer]:
    """Read an answer: per trajectory observation, done, valid.

    Raises:
        BrokenError: it is not of the contract.
    """
    try:
        values = response.json()
        columns = [values[name] for name in ("observations", "dones", "valids")]
        answers = [(seen, bool(done), bool(valid)) for seen, done, valid in zip(*columns, strict=True)]
    except (ValueError, KeyError, TypeError):
        raise BrokenError(f"{response.url}: not an answer of /get_observation: {response.text[:200]}") from None
    if len(answers) != count or not all(isinstance(seen, str | dict) for seen, _, _ in answers):
        raise BrokenError(f"{response.url}: {len(answers)} observations for {count} actions, or one that is neither text nor an object")
    return answers


class _Action:
    """One tool of a server."""

    def __init__(self, name: str, action: VerlAction, server: _Server) -> None:
        self.name, self.action, self.server, self.facts = name, action, server, server.facts
        argument = {"type": "string", "description": action.about}
        self.schema: dict[str, Any] = {
            "name": name,
            "description": action.description,
            "parameters": {
                "type": "object",
                "properties": {action.argument: argument},
                "required": [action.argument],
                "additionalProperties": False,
            },
        }
        self.settle = server.finish if server.config.stateful else None
        self.close = server.close

    async def __call__(self, *_: Any, **arguments: Any) -> Observation:
        """Send the action.

        Raises:
            ToolError: the server says that it is not valid.
            TransientError, BrokenError: the server failed.
        """
        text = self.action.template.replace("{}", arguments[self.action.argument])
        (seen, done, valid), size = await self.server.act(current_label(), text)
        facts: dict[str, Any] = {"obs": seen} if isinstance(seen, str) else seen
        shown = str(facts.get("obs") or "")
        if failure := facts.get("broken") or facts.get("error"):
            raise BrokenError(f"{self.server.url}: {failure}")
        if not valid:
            raise ToolError(shown or str(facts.get("invalid_reason") or "The tool could not read this action."))
        meta = {"done": True} if done else {}
        if isinstance(facts.get("reward"), int | float):
            meta["reward"] = facts["reward"]
        pictures = facts.get("image") or []
        images = tuple(_image(picture) for picture in (pictures if isinstance(pictures, list) else [pictures]))
        return Observation(shown, images=images, usage=Usage(bytes=size), meta=meta)


def _image(value: str) -> Image:
    """A picture as verl-tool sends it: a data address."""
    head, comma, data = value.partition(";base64,")
    if head.startswith("data:") and comma:
        return Image(head.removeprefix("data:"), base64.b64decode(data))
    return Image("image/*", url=value)
