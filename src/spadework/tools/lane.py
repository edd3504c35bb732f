"""The way of one tool's calls to the outside: its turn, its deadline, further attempts, further providers, faults.

A call waits for a token of the tool and of the host it goes to, then for a permit; the queue is bounded and has a deadline of its own, so
seconds of service and seconds of waiting are told apart. From then on one deadline holds for all attempts together. A failure that may pass
is tried again after a seeded wait or what the server asked for; a failure for good, or one attempt too many, goes to the next provider.
A server that asks for more patience than `max_backoff` is not asked again. A cancelled call gives its permit back and takes no token.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from spadework.core.errors import BrokenError, ToolError
from spadework.core.seeds import rng
from spadework.tools.account import Account
from spadework.tools.budget import Spending
from spadework.tools.faults import Faults
from spadework.tools.limits import Bucket, CallLimits, RateLimit
from spadework.tools.tape import canonical
from spadework.tools.tool import Observation, Provider, Tool, TransientError, facts_of

__all__ = ["Hosts", "Lane"]

_PASSING = (TransientError, TimeoutError, ConnectionError)


class Hosts:
    """One bucket per host that has a limit."""

    def __init__(self, limits: Mapping[str, RateLimit]) -> None:
        self.limits = limits
        self._buckets: dict[str, Bucket] = {}

    async def take(self, host: str) -> None:
        """Wait for a token of a host and take it."""
        limit = self.limits.get(host) or (self.limits.get("*") if host else None)
        if limit is not None:
            if host not in self._buckets:
                self._buckets[host] = Bucket(limit.rate, limit.burst)
            await self._buckets[host].take()

    def rebind(self) -> None:
        """Start anew in another event loop."""
        self._buckets.clear()


class Lane:
    """One tool's calls."""

    def __init__(self, tool: Tool, limits: CallLimits, hosts: Hosts, spending: Spending, faults: Faults | None) -> None:
        self.tool, self.limits, self.hosts, self.spending = tool, limits, hosts, spending
        self.facts = facts_of(tool)
        self.faults = faults if faults is not None and faults.strikes(tool.name) else None
        self.providers: tuple[Provider, ...] = tuple(getattr(tool, "providers", None) or (tool,))
        self.price = max(facts_of(provider).price for provider in self.providers)
        self.direct = self.facts.inline and self.faults is None and limits.rate is None and not spending.limited
        """Whether nothing stands between the gateway and the tool."""
        self._waiting = 0
        self.rebind()

    @cached_property
    def version(self) -> str:
        """The tool's version; asked for once, because it may be the hash of a corpus."""
        return self.facts.version() if callable(self.facts.version) else self.facts.version

    def advance(self, progress: float) -> None:
        """Tell the tool how much of the training is done; if it cares, it is asked for its version again."""
        if (advance := getattr(self.tool, "advance", None)) is not None:
            advance(progress)
            self.__dict__.pop("version", None)

    def rebind(self) -> None:
        """Start anew in another event loop, to which locks belong."""
        self._bucket = Bucket(self.limits.rate, self.limits.burst) if self.limits.rate is not None else None
        self._permits = asyncio.Semaphore(self.limits.concurrency)

    async def send(
        self, arguments: dict[str, Any], account: Account, index: int, before: Callable[[], Awaitable[None]] | None = None
    ) -> Observation:
        """Carry out a call.

        Args:
            arguments: they match the schema.
            account: of the trajectory.
            index: of the call within it.
            before: what has to be done under the same deadline first.

        Returns:
            The observation with its seconds of service and its price; a `ToolError` as one of status `error`.

        Raises:
            BrokenError: nobody answered, the deadline passed, or too many calls wait.
            BudgetError: the run's money or number of calls is used up.
        """
        if self.direct and before is None:
            start = time.perf_counter()
            try:
                observation = await self.tool(**arguments)
            except ToolError as error:
                observation = Observation(text=str(error), status="error")
            except (TimeoutError, ConnectionError) as error:
                raise BrokenError(f"{type(error).__name__}: {error}") from error
            return self._stamped(observation, self.price, time.perf_counter() - start)
        await self._turn(arguments, account)
        try:
            start = time.perf_counter()
            async with asyncio.timeout(self.limits.timeout):
                if before is not None:
                    await before()
                observation, price = await self._attempts(arguments, account, index)
            seconds = time.perf_counter() - start
        except TimeoutError as error:
            raise BrokenError(f"no result within {self.limits.timeout:g} s") from error
        finally:
            self._permits.release()
        if self.faults is not None and self.facts.content:
            observation = self.faults.content(observation, self.tool.name, canonical(arguments))
        return self._stamped(observation, price, seconds)

    def _stamped(self, observation: Observation, price: float, seconds: float) -> Observation:
        usage = observation.usage
        if price and not usage.dollars and observation.status == "ok":
            usage = replace(usage, dollars=price)
        return observation.stamped(self.tool.name, seconds, usage)

    async def _turn(self, arguments: dict[str, Any], account: Account) -> None:
        """Wait in the queue for a permit, which the caller gives back."""
        if self._bucket is None and not self.hosts.limits and not self._permits.locked():
            await self._permits.acquire()  # without waiting, since nobody is before us
            return
        if self._waiting >= self.limits.queue:
            raise BrokenError(f"{self._waiting} calls wait already; raise the queue, or lower the number of trajectories in flight")
        start = time.perf_counter()
        self._waiting += 1
        try:
            async with asyncio.timeout(self.limits.queue_timeout):
                await self._tokens(self.providers[0], arguments)
                await self._permits.acquire()
        except TimeoutError as error:
            raise BrokenError(f"no turn within {self.limits.queue_timeout:g} s; {self._waiting} calls wait") from error
        finally:
            self._waiting -= 1
        account.add("queued", time.perf_counter() - start, self.tool.name)

    async def _tokens(self, provider: Provider, arguments: dict[str, Any]) -> None:
        if self._bucket is not None:
            await self._bucket.take()
        if self.hosts.limits:
            host = facts_of(provider).host
            await self.hosts.take(host(arguments) if callable(host) else host)

    async def _attempts(self, arguments: dict[str, Any], account: Account, index: int) -> tuple[Observation, float]:
        name = self.tool.name
        count = 0
        problem: Exception = BrokenError("no provider")
        for place, provider in enumerate(self.providers):
            account.add("failovers", float(place > 0), name)
            for attempt in range(self.limits.attempts):
                if count:
                    await self._tokens(provider, arguments)
                count += 1
                try:
                    observation = await self._attempt(provider, arguments, account, index, attempt)
                except ToolError as error:
                    return Observation(text=str(error), status="error"), 0.0
                except (BrokenError, TimeoutError, ConnectionError) as error:
                    problem = error
                    if not self.facts.retry or not facts_of(provider).retry:
                        raise BrokenError(f"{_text(error)}; not sent again, because a second delivery could do it twice") from error
                else:
                    if len(self.providers) > 1:
                        observation = replace(observation, meta={**observation.meta, "provider": provider.name})
                    return observation, facts_of(provider).price
                wait = self._wait(problem, attempt, account, index)
                if wait is None:
                    break
                account.add("retries", 1.0, name)
                await asyncio.sleep(wait)
        raise BrokenError(_text(problem) + (f" ({count} attempts)" if count > 1 else "")) from problem

    def _wait(self, problem: Exception, attempt: int, account: Account, index: int) -> float | None:
        """Seconds until the next attempt at this provider; None for no further one."""
        if not isinstance(problem, _PASSING) or attempt + 1 >= self.limits.attempts:
            return None
        asked = getattr(problem, "retry_after", None)
        if asked is not None:
            return asked if asked <= self.limits.max_backoff else None
        most = min(self.limits.max_backoff, self.limits.backoff * 2**attempt)
        return rng("backoff", account.seed, index, attempt).uniform(0.0, most)

    async def _attempt(self, provider: Provider, arguments: dict[str, Any], account: Account, index: int, attempt: int) -> Observation:
        price = facts_of(provider).price
        self.spending.reserve(price)
        # What was not answered in time may have been delivered, so it stays paid.
        paid = price
        try:
            if self.limits.attempt_timeout is None:
                observation = await self._send(provider, arguments, account, index, attempt)
            else:
                async with asyncio.timeout(self.limits.attempt_timeout):
                    observation = await self._send(provider, arguments, account, index, attempt)
            paid = observation.usage.dollars or price
            return observation
        except (ToolError, BrokenError):
            paid = 0.0
            raise
        finally:
            self.spending.correct(paid - price)

    def _send(self, provider: Provider, arguments: dict[str, Any], account: Account, index: int, attempt: int) -> Awaitable[Observation]:
        if self.faults is None:
            return provider(**arguments)
        return self.faults.attempt(lambda: provider(**arguments), account.seed, index, attempt)


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, BrokenError) else f"{type(error).__name__}: {error}".rstrip(": ")
