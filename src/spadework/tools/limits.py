"""Limits of calls: how many, how fast, how long, how often again, how much, and for how much money.

A general limit holds for every tool; `per_tool` changes it for one, and `per_host` bounds the rate at which calls go to one host, whatever
tools they come from. Rates are token buckets: `burst` calls at once, then `rate` per second, in the order in which they came.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from spadework.core.config import Config
from spadework.core.errors import ConfigError

__all__ = ["Bucket", "Budget", "CallLimits", "GatewayConfig", "RateLimit"]

INLINE_LIMITS = frozenset({"max_chars", "trim", "rate", "burst"})
"""Limits that can take effect on a tool that never waits."""


class RateLimit(Config):
    """A token bucket."""

    rate: float = Field(gt=0)
    """Calls per second in the long run."""
    burst: int | None = Field(default=None, ge=1)
    """Calls at once after a pause; one second's worth if not given."""


class CallLimits(Config):
    """Limits of the calls of one tool."""

    timeout: float = Field(default=60.0, gt=0)
    """Seconds until a call counts as broken, all attempts together, from when it may start. Inline tools need no deadline."""
    attempt_timeout: float | None = Field(default=None, gt=0)
    """Seconds until one attempt is given up and the next one starts; only the deadline of the whole call if not given."""
    attempts: int = Field(default=3, ge=1)
    """Attempts at each provider, while failures are ones that may pass."""
    backoff: float = Field(default=0.5, ge=0)
    """Most seconds before the second attempt; doubled for every further one. The wait is uniform between 0 and that (full jitter), or what
    the server asked for."""
    max_backoff: float = Field(default=20.0, ge=0)
    """Most seconds between two attempts."""
    concurrency: int = Field(default=64, ge=1)
    """Calls that run at once."""
    rate: float | None = Field(default=None, gt=0)
    """Calls per second in the long run; no limit if not given."""
    burst: int | None = Field(default=None, ge=1)
    """Calls at once after a pause; one second's worth if not given."""
    queue: int = Field(default=10_000, ge=1)
    """Calls that wait for their turn; one more is broken."""
    queue_timeout: float = Field(default=600.0, gt=0)
    """Seconds that a call waits for its turn before it counts as broken."""
    max_chars: int = Field(default=8000, ge=200)
    """A longer result is cut to this length, with a line that says so."""
    trim: Literal["head", "head-tail"] = "head"
    """What is kept of it: the beginning, or two thirds from the beginning and a third from the end."""

    @model_validator(mode="after")
    def _effective(self) -> "CallLimits":
        if self.burst is not None and self.rate is None:
            raise ValueError("burst has no effect without rate")
        if self.attempt_timeout is not None and self.attempt_timeout > self.timeout:
            raise ValueError(f"attempt_timeout {self.attempt_timeout:g} has no effect: the whole call ends after timeout {self.timeout:g}")
        return self


class Budget(Config):
    """What may be spent. None is no limit."""

    calls: int | None = Field(default=None, ge=0)
    """Calls that are carried out: a trajectory's calls, from the tape or not; a run's calls that really go out."""
    dollars: float | None = Field(default=None, ge=0)


class GatewayConfig(CallLimits):
    """Limits that hold for every tool, exceptions per tool and host, and budgets."""

    per_tool: dict[str, dict[str, Any]] = Field(default={})
    """By name of a tool the limits that differ."""
    per_host: dict[str, RateLimit] = Field(default={})
    """By host the rate of all calls that go there; `*` stands for every host that is not named, each with a bucket of its own."""
    budget: Budget = Budget()
    """Per trajectory. A call beyond it is answered with a text that says so, and the trajectory may still answer."""
    run_budget: Budget = Budget()
    """Per run, over all its processes. A call beyond it ends the run, which can be resumed with a higher budget."""

    @model_validator(mode="after")
    def _readable(self) -> "GatewayConfig":
        for name in self.per_tool:
            self.limits(name)
        return self

    def limits(self, tool: str) -> CallLimits:
        """The limits of one tool.

        Raises:
            ValueError: an exception for it has an unknown key or a bad value.
        """
        own = self.per_tool.get(tool, {})
        general = {name: getattr(self, name) for name in CallLimits.model_fields}
        if "rate" in own and "burst" not in own:
            general["burst"] = None
        try:
            return CallLimits.parse({**general, **own}, source=f"per_tool.{tool}")
        except (ConfigError, ValidationError) as error:
            raise ValueError(str(error)) from None

    def check(self, tools: Mapping[str, bool], *, hosts: bool) -> None:
        """Refuse limits that cannot take effect.

        Args:
            tools: whether each tool is inline.
            hosts: whether any tool or provider names the host that it goes to.

        Raises:
            ConfigError: a limit is for a tool that is not there, for an inline one that never waits, or for hosts that nobody goes to.
        """
        for name, own in self.per_tool.items():
            if name not in tools:
                raise ConfigError(f"tools.gateway.per_tool: there is no tool '{name}'; the tools are: {', '.join(tools) or 'none'}")
            idle = sorted(own.keys() - INLINE_LIMITS)
            if tools[name] and idle:
                raise ConfigError(f"tools.gateway.per_tool.{name}: '{idle[0]}' has no effect, because {name} runs in place and never waits")
        if self.per_host and not hosts:
            raise ConfigError("tools.gateway.per_host has no effect: no tool goes to a host")


class Bucket:
    """A token bucket whose callers are served in the order in which they came. A cancelled caller takes nothing."""

    def __init__(self, rate: float, burst: int | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.size, self._clock = rate, float(burst or max(1, math.ceil(rate))), clock
        self._tokens, self._at = self.size, clock()
        # The head of the queue holds the lock while it waits for its token.
        self._line = asyncio.Lock()

    async def take(self) -> None:
        """Wait for a token and take it."""
        async with self._line:
            while (missing := self._missing()) > 0:
                await asyncio.sleep(missing)
            self._tokens -= 1

    def _missing(self) -> float:
        """Seconds until there is a token."""
        now = self._clock()
        self._tokens, self._at = min(self.size, self._tokens + (now - self._at) * self.rate), now
        # A wait that ends a rounding error early must not spin, so a token counts as there when it is almost.
        return 0.0 if self._tokens >= 1 - 1e-6 else (1 - self._tokens) / self.rate
