"""The agent contract: a pure function from the path so far to the next move.

No hidden state: all an agent knows stands on the path, so any path can be forked, resumed after a crash, continued with newer weights,
replayed from a tape or shipped to another machine without a line in the agent. The driver (`rollout/driver.py`) carries out the moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from spadework.core.messages import Message, ToolCall
from spadework.tasks.task import Task
from spadework.trajectories.tree import Node

__all__ = ["Act", "Agent", "Finish", "Generate", "Move"]


@dataclass(frozen=True, slots=True)
class Generate:
    """Sample the policy's next turn after the path as it stands."""


@dataclass(frozen=True, slots=True)
class Act:
    """Call tools; their results extend the path."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """Stop. `answer` None means that the policy did not give one."""

    answer: str | None
    error: str | None = None
    """Why there is no answer."""


Move: TypeAlias = Generate | Act | Finish


class Agent(Protocol):
    """A role with a way of working."""

    role: str

    def start(self, task: Task, tools: Sequence[dict[str, Any]]) -> Sequence[Message]:
        """The messages of the root node."""
        ...

    def next(self, path: Sequence[Node]) -> Move:
        """The next move, given the nodes from the root to the current one."""
        ...
