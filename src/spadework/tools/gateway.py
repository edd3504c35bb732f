"""The one door to all tools: it validates a call, sets its deadline, trims its result and keeps the ledger.

What the policy did wrong (an unknown tool, a call that can not be read, arguments that do not match, a `ToolError`) becomes an
observation of status `error` whose text says what would be right. What the infrastructure did wrong (a `BrokenError`, a deadline) is
raised as `BrokenError` and breaks the trajectory. Any other exception is a bug in a tool and passes through. A call is identified by
the label of its trajectory; the ledger is kept per label until `settle`.
"""

import asyncio
import difflib
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from spadework.core.config import Config
from spadework.core.errors import BrokenError, InputError, ToolError
from spadework.core.messages import ToolCall
from spadework.tools.schema import mismatch
from spadework.tools.tool import Observation, Tool, facts_of

__all__ = ["Gateway", "GatewayConfig"]

_NOTE_CHARS = 80
"""Room for the note at the end of a trimmed text."""


class GatewayConfig(Config):
    """Limits that hold for every tool."""

    timeout: float = Field(default=60.0, gt=0)
    """Seconds until a call counts as broken. Inline tools never wait and need no deadline."""
    max_chars: int = Field(default=8000, ge=200)
    """A longer result is cut to this length, with a line that says so."""


class Gateway:
    """Calls tools on behalf of trajectories."""

    def __init__(self, tools: Sequence[Tool], config: GatewayConfig | None = None) -> None:
        self.config = config or GatewayConfig()
        self.tools = {tool.name: tool for tool in tools}
        if len(self.tools) < len(tools):
            raise InputError(f"two tools have the same name: {', '.join(sorted(tool.name for tool in tools))}")
        self._ledgers: defaultdict[str, dict[str, float]] = defaultdict(lambda: {"calls": 0.0, "errors": 0.0, "seconds": 0.0})

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The OpenAI function schemas of all tools, in the order in which they were given."""
        return [tool.schema for tool in self.tools.values()]

    async def call(self, call: ToolCall, label: str) -> Observation:
        """Carry out one call.

        Args:
            call: what the policy asked for; it may be malformed.
            label: the trajectory that pays for it.

        Returns:
            The result, or an observation of status `error` that tells the policy what it did wrong.

        Raises:
            BrokenError: infrastructure failed or the deadline passed; names the tool, the arguments and the label.
        """
        ledger = self._ledgers[label]
        ledger["calls"] += 1
        start = time.perf_counter()
        try:
            problem = self._problem(call)
            if problem is None:
                key = f"calls/{call.name}"
                ledger[key] = ledger.get(key, 0.0) + 1
                observation = await self._run(self.tools[call.name], call, label)
            else:
                observation = Observation(text=problem, status="error")
        finally:
            seconds = time.perf_counter() - start
            ledger["seconds"] += seconds
        text = observation.text
        if observation.status == "error":
            ledger["errors"] += 1
        if len(text) > self.config.max_chars:
            ledger["trimmed"] = ledger.get("trimmed", 0.0) + 1
            text = self._trim(text)
        return replace(observation, text=text, tool=call.name, seconds=seconds)

    def settle(self, label: str) -> dict[str, float]:
        """Close a trajectory's account.

        Returns:
            `calls` (malformed ones included), `calls/TOOL`, `errors`, `seconds`, and `trimmed` if any result was cut.
        """
        return self._ledgers.pop(label, {"calls": 0.0, "errors": 0.0, "seconds": 0.0})

    def _problem(self, call: ToolCall) -> str | None:
        """What is wrong with a call, for the model."""
        if call.error is not None:
            return call.error
        tool = self.tools.get(call.name)
        if tool is None:
            near = difflib.get_close_matches(call.name, self.tools, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            return f"There is no tool '{call.name}'.{hint} The tools are: {', '.join(self.tools) or 'none'}."
        problem = mismatch(call.arguments, tool.schema["parameters"])
        return problem and f"{call.name}: {problem}"

    async def _run(self, tool: Tool, call: ToolCall, label: str) -> Observation:
        try:
            if facts_of(tool).inline:
                return await tool(**call.arguments)
            async with asyncio.timeout(self.config.timeout):
                return await tool(**call.arguments)
        except ToolError as error:
            return Observation(text=str(error), status="error")
        except BrokenError as error:
            raise BrokenError(f"{self._named(call, label)}: {error}") from error
        except TimeoutError as error:
            raise BrokenError(f"{self._named(call, label)}: no result within {self.config.timeout:g} s") from error

    @staticmethod
    def _named(call: ToolCall, label: str) -> str:
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        return f"trajectory {label}: {call.name}({arguments if len(arguments) <= 200 else arguments[:200] + '...'})"

    def _trim(self, text: str) -> str:
        kept = self.config.max_chars - _NOTE_CHARS
        return f"{text[:kept]}\n[cut: {kept} of {len(text)} characters are shown]"
