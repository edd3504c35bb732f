"""The planner: one role that thinks, searches, reads and answers, on one growing path (ReAct, arXiv 2210.03629).

A turn that can not be read is answered with the reason, as a failed call, so that the model sees what it did wrong; after `max_errors`
failed turns in a row the planner gives up. Budgets of turns, calls and tokens are the driver's (`rollout/driver.py`). Not done here:
delegation and edited contexts.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from spadework.agents.agent import Act, Finish, Generate, Move
from spadework.core.config import Config
from spadework.core.messages import Message, ToolCall
from spadework.tasks.task import Task
from spadework.trajectories.tree import Node

__all__ = ["Planner", "PlannerConfig"]


class PlannerConfig(Config):
    """What the planner is told, and when it gives up."""

    instructions: str = ""
    """System message; empty for none. Protocols that need to be explained are explained by the renderer."""
    max_errors: int = Field(default=3, ge=1)
    """Failed turns in a row after which the trajectory fails: turns that can not be read, or whose every call was refused."""


class Planner:
    """A single agent."""

    role = "planner"

    def __init__(self, config: PlannerConfig | None = None) -> None:
        self.config = config or PlannerConfig()

    def start(self, task: Task, tools: Sequence[dict[str, Any]]) -> Sequence[Message]:
        """The instructions, if any, and the question."""
        question = Message(role="user", content=task.question)
        return (Message(role="system", content=self.config.instructions), question) if self.config.instructions else (question,)

    def next(self, path: Sequence[Node]) -> Move:
        """Carry out what the last turn says, or generate the next one."""
        last = path[-1]
        if last.kind != "generation":
            if last.kind == "observation" and _errors(path) >= self.config.max_errors:
                return Finish(None, error=f"{self.config.max_errors} failed turns in a row")
            return Generate()
        turn = last.messages[-1].turn
        assert turn is not None, "the driver parses every generation"
        if turn.calls:
            return Act(turn.calls)
        if turn.answer is not None:
            return Finish(turn.answer)
        if 1 + _errors(path) >= self.config.max_errors:
            return Finish(None, error=turn.error)
        return Act((ToolCall(name="", error=turn.error),))


def _errors(path: Sequence[Node]) -> int:
    """Number of observations at the end of the path in which every call failed."""
    count = 0
    for node in reversed(path):
        if node.kind == "observation":
            if any(call["status"] == "ok" for call in node.meta["calls"]):
                break
            count += 1
    return count
