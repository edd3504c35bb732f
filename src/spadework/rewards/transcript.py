"""What happened in a trajectory, as rewards read it: turns with their calls and results, queries, texts that were shown, tagged text.

A turn is a generation node and the observation nodes that follow it. Calls, results and records of a turn stand in the same order; a call
that never got a result (a budget ended first) has status `unanswered`. Not done here: tokens, and what the gateway counted (the ledger).
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from spadework.core.messages import ToolCall
from spadework.trajectories.tree import Node, Trajectory

__all__ = ["Call", "TurnRecord", "num_calls", "queries", "shown_texts", "tagged", "turn_records"]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call with what came back."""

    request: ToolCall
    status: str = "unanswered"
    """The observation's: `ok` or `error`; `unanswered` if there is none."""
    text: str = ""
    documents: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Two calls with the same key ask for the same thing."""
        return f"{self.request.name} {json.dumps(self.request.arguments, sort_keys=True, default=str)}"

    @property
    def query(self) -> str:
        """The argument `query`, or else all arguments as text."""
        arguments = self.request.arguments
        return str(arguments["query"]) if "query" in arguments else " ".join(str(value) for value in arguments.values())


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One turn of the policy."""

    node: Node
    calls: list[Call] = field(default_factory=list)

    @property
    def documents(self) -> list[str]:
        """Ids of the documents that the turn's calls showed, in order, repeats included."""
        return [document for call in self.calls for document in call.documents]

    @property
    def texts(self) -> list[str]:
        """Texts of the turn's results."""
        return [call.text for call in self.calls if call.status != "unanswered"]


def turn_records(trajectory: Trajectory) -> list[TurnRecord]:
    """All turns, one per generation node and in their order."""
    following: dict[int | None, list[Node]] = {}
    for node in trajectory.nodes:
        if node.kind == "observation":
            following.setdefault(node.parent, []).append(node)
    return [TurnRecord(node, _calls(node, following.get(node.id, []))) for node in trajectory.generations()]


def _calls(node: Node, observations: Iterable[Node]) -> list[Call]:
    requests = [call for message in node.messages if message.turn is not None for call in message.turn.calls]
    found = [
        (record, message.content)
        for seen in observations
        for record, message in zip(seen.meta.get("calls", ()), (m for m in seen.messages if m.role == "tool"), strict=False)
    ]
    answered = [
        Call(request, record["status"], text, tuple(record.get("documents", ())))
        for request, (record, text) in zip(requests, found, strict=False)
    ]
    return answered + [Call(request) for request in requests[len(answered) :]]


def num_calls(trajectory: Trajectory, tools: Iterable[str]) -> int:
    """How often the gateway carried out calls of these tools; all calls, malformed ones included, for none."""
    names = list(tools)
    return int(sum(trajectory.ledger.get(f"calls/{name}", 0.0) for name in names) if names else trajectory.ledger.get("calls", 0.0))


def queries(trajectory: Trajectory, tool: str) -> list[str]:
    """What the policy asked a tool, in order; calls that could not be parsed are left out."""
    return [
        call.query for turn in turn_records(trajectory) for call in turn.calls if call.request.name == tool and call.request.error is None
    ]


def shown_texts(trajectory: Trajectory) -> list[str]:
    """Texts of all tool results, in order."""
    return [message.content for node in trajectory.nodes for message in node.messages if message.role == "tool"]


def tagged(trajectory: Trajectory, tag: str) -> list[str]:
    """What the policy wrote between `<tag>` and `</tag>`, in order."""
    pattern = re.compile(rf"<{re.escape(tag)}>(.*?)</{re.escape(tag)}>", re.DOTALL)
    return [
        text.strip()
        for node in trajectory.generations()
        for message in node.messages
        if message.role == "assistant"
        for text in pattern.findall(message.content)
    ]
