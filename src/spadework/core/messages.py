"""Messages and tool calls: what agents and environment authors see. Tokens are another layer (`trajectories/tree.py`).

A message has a role of the OpenAI chat format. A tool call that could not be parsed is still a call: it carries `error`, and the gateway
answers it with that text, so that a malformed call costs a turn and teaches, and is never silently dropped.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Message", "Role", "ToolCall", "Turn"]

Role = Literal["system", "user", "assistant", "tool"]


class ToolCall(BaseModel):
    """A call of a tool by the policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    error: str | None = None
    """Why the call could not be parsed; None for a well-formed call."""


class Turn(BaseModel):
    """What one generation of the policy says, parsed by a renderer.

    At least one of `calls` and `answer` is set, or `error` says why neither could be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    thought: str = ""
    calls: tuple[ToolCall, ...] = ()
    answer: str | None = None
    error: str | None = None


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str = ""
    turn: Turn | None = None
    """The parsed form of an assistant message."""
    name: str | None = None
    """The tool that a message of role `tool` comes from."""
