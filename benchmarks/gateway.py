"""What the gateway costs: a call of a tool that does nothing, beside calling the tool itself.

One call after the other, for a tool that runs in place and for one that could wait; and many at once, for calls per second. The difference
between the two sides is the validation, the deadline, the permit, the ledger and the copy of the observation.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median

from benchmarks.table import Row
from spadework.core.messages import ToolCall
from spadework.tools.gateway import Gateway
from spadework.tools.limits import GatewayConfig
from spadework.tools.tool import Facts, Observation

__all__ = ["rows"]

IN_FLIGHT = 256


class Nothing:
    """A tool that does nothing."""

    def __init__(self, name: str, inline: bool) -> None:
        self.name, self.facts = name, Facts(inline=inline)
        parameters = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": False}
        self.schema = {"name": name, "description": "Nothing.", "parameters": parameters}

    async def __call__(self, *, text: str) -> Observation:
        """The text."""
        return Observation(text)


async def _each(call: Callable[[], Awaitable[object]], count: int) -> float:
    """Median seconds of a call."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


async def _together(call: Callable[[int], Awaitable[object]], count: int) -> float:
    """Calls per second with `IN_FLIGHT` workers, each of which makes one call after the other."""

    async def worker(number: int) -> None:
        for _ in range(count // IN_FLIGHT):
            await call(number)

    start = time.perf_counter()
    await asyncio.gather(*(worker(number) for number in range(IN_FLIGHT)))
    return (count // IN_FLIGHT) * IN_FLIGHT / (time.perf_counter() - start)


def rows(runs: int = 3, count: int = 25_600) -> list[Row]:
    """Measure.

    Args:
        runs: pairs of each row, of which the medians are reported.
        count: calls of a run.
    """
    found = [_row(name, inline, runs, count) for name, inline in (("gateway_call", True), ("gateway_call/async", False))]
    gateway, tool, call = _sides(inline=False)
    pairs = [
        (
            asyncio.run(_together(lambda number: gateway.call(call, f"t/{number}"), count)),
            asyncio.run(_together(lambda _: tool(text="x"), count)),
        )
        for _ in range(runs)
    ]
    ours, peer = (median(side) for side in zip(*pairs, strict=True))
    name = f"gateway_{IN_FLIGHT}_in_flight"
    return [*found, Row(name, round(ours), round(peer), round(ours / peer, 4), "calls/s", runs, "the tool itself")]


def _sides(*, inline: bool) -> tuple[Gateway, Nothing, ToolCall]:
    tool = Nothing("nothing", inline)
    return Gateway([tool], GatewayConfig(concurrency=IN_FLIGHT)), tool, ToolCall(name="nothing", arguments={"text": "x"})


def _row(name: str, inline: bool, runs: int, count: int) -> Row:
    gateway, tool, call = _sides(inline=inline)
    pairs = [
        (asyncio.run(_each(lambda: gateway.call(call, "t/0"), count // 5)), asyncio.run(_each(lambda: tool(text="x"), count // 5)))
        for _ in range(runs)
    ]
    ours, peer = (median(side) * 1e6 for side in zip(*pairs, strict=True))
    return Row(name, round(ours, 2), round(peer, 3), round(peer / ours, 4), "us", runs, "the tool itself")
