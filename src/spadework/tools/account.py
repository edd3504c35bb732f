"""What a gateway knows of one trajectory: its ledger, the index of its next call, and its calls of tools that keep state."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from spadework.core.messages import ToolCall
from spadework.tools.tape import call_key, canonical
from spadework.tools.tool import Observation

__all__ = ["Account", "StateLog", "new_ledger"]


@dataclass(slots=True)
class StateLog:
    """The calls of one state in order; from them the state can be rebuilt."""

    calls: list[ToolCall] = field(default_factory=list)
    shown: list[Sequence[Observation]] = field(default_factory=list)
    """Per call what the trajectory had been shown before it, for tools that depend on it."""
    digest: str = ""
    """Hash of the calls; part of the tape's key of the next one."""
    applied: int = 0
    """How many of the calls the living state has seen. Calls that the tape answered it has not."""
    touched: bool = False
    """Whether a tool may hold something for this trajectory."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Calls of one state run one after the other, in the order in which they came."""

    def append(self, call: ToolCall, shown: Sequence[Observation]) -> str:
        """Note a call that is about to be carried out; the hash of all that its result depends on beside its arguments."""
        history = self.digest + _digest(shown)
        self.calls.append(call)
        self.shown.append(shown)
        self.digest = call_key(call.name, "", canonical(call.arguments), history)
        return history


def _digest(shown: Sequence[Observation]) -> str:
    """Hash of what was shown; empty for nothing."""
    if not shown:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for seen in shown:
        digest.update(canonical({"text": seen.text, "documents": list(seen.documents)}).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def new_ledger() -> dict[str, float]:
    """A ledger on which nothing stands yet."""
    return {"calls": 0.0, "errors": 0.0, "seconds": 0.0}


@dataclass(slots=True)
class Account:
    """One trajectory at the gateway."""

    label: str
    seed: int
    """Seed of its faults and waits; with the label it names the trajectory on a tape."""
    ledger: dict[str, float] = field(default_factory=new_ledger)
    index: int = 0
    """Of the next call, malformed ones included."""
    done: int = 0
    """Calls that were carried out or are being so: what the budget counts."""
    planned: float = 0.0
    """Dollars of these calls, as far as their prices are known."""
    states: dict[str, StateLog] = field(default_factory=dict)

    @property
    def stream(self) -> str:
        """Its name on a tape."""
        return f"{self.label}@{self.seed:x}"

    def add(self, name: str, amount: float, tool: str) -> None:
        """Add to an entry of the ledger, in all and of one tool; nothing is written for 0."""
        if amount:
            ledger = self.ledger
            ledger[name] = ledger.get(name, 0.0) + amount
            key = f"{name}/{tool}"
            ledger[key] = ledger.get(key, 0.0) + amount
