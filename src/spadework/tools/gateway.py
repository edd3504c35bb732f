"""The one door to all tools.

Every call passes, in this order:

    schema -> the trajectory's budget -> tape -> rate (tool, host) -> concurrency -> deadline -> retries with backoff and jitter
    -> failover to the next provider -> faults -> the tool;  then the ledger, and trimming

What the policy did wrong (an unknown tool, a call that can not be read, arguments that do not match, a `ToolError`) becomes an
observation of status `error` whose text says what would be right, and so does a trajectory's budget that is used up. What the
infrastructure did wrong (no provider answered, a deadline, a full queue) is raised as `BrokenError` and breaks the trajectory. A run's
budget that is used up is a `BudgetError` and ends the run. Any other exception is a bug in a tool and passes through.

A call is identified by the label of its trajectory and its index within it; the account is kept per label until `settle`.
"""

import asyncio
import difflib
import inspect
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from spadework.core.errors import BrokenError, InputError, ToolError
from spadework.core.messages import ToolCall
from spadework.core.seeds import derive_seed
from spadework.tools.account import Account, StateLog, new_ledger
from spadework.tools.budget import Spending
from spadework.tools.faults import Faults
from spadework.tools.lane import Hosts, Lane
from spadework.tools.limits import GatewayConfig
from spadework.tools.recorder import Recorder
from spadework.tools.schema import mismatch
from spadework.tools.tool import LABEL, SHOWN, Observation, Tool, facts_of

__all__ = ["Gateway", "GatewayConfig"]

_NOTE_CHARS = 80
"""Room for the note in a trimmed text."""
_CLOSING_SECONDS = 10.0
"""Deadline of everything that gives back what a trajectory or a tool held."""


class Gateway:
    """Calls tools on behalf of trajectories."""

    def __init__(
        self,
        tools: Sequence[Tool],
        config: GatewayConfig | None = None,
        *,
        recorder: Recorder | None = None,
        faults: Faults | None = None,
        spending: Spending | None = None,
        images: Path | None = None,
        seed: int = 0,
    ) -> None:
        """Open the door.

        Args:
            tools: each name once.
            config: limits and budgets.
            recorder: answers calls from a tape, and records; None for no tape.
            faults: None for none.
            spending: the run's account; by default one in memory with the budget of `config`.
            images: folder for pictures that tools return (`trajectories/images.py`); whoever records an observation puts them there.
            seed: of trajectories that are not given one by `open`.

        Raises:
            InputError: two tools have the same name, or a limit cannot take effect.
        """
        self.config = config or GatewayConfig()
        self.tools = {tool.name: tool for tool in tools}
        if len(self.tools) < len(tools):
            raise InputError(f"two tools have the same name: {', '.join(sorted(tool.name for tool in tools))}")
        self.recorder, self.images, self.seed = recorder, images, seed
        self.spending = spending or Spending(self.config.run_budget)
        self._hosts = Hosts(self.config.per_host)
        self._lanes = {name: Lane(tool, self.config.limits(name), self._hosts, self.spending, faults) for name, tool in self.tools.items()}
        inline = {name: lane.facts.inline and lane.faults is None for name, lane in self._lanes.items()}
        self.config.check(inline, hosts=any(facts_of(way).host for lane in self._lanes.values() for way in lane.providers))
        self._accounts: dict[str, Account] = {}
        self._closing: set[asyncio.Future[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The OpenAI function schemas of all tools, in the order in which they were given."""
        return [tool.schema for tool in self.tools.values()]

    def open(self, label: str, seed: int) -> None:
        """Open a trajectory's account with a seed of its own; without it the first call opens one with a seed of the label.

        Args:
            label: the trajectory.
            seed: decides its faults and waits, and tells it apart on a tape from another attempt with the same label.
        """
        self._accounts[label] = Account(label, seed)

    def _account(self, label: str) -> Account:
        return self._accounts.get(label) or self._accounts.setdefault(label, Account(label, derive_seed(self.seed, label)))

    async def call(self, call: ToolCall, label: str, shown: Sequence[Observation] = ()) -> Observation:
        """Carry out one call.

        Args:
            call: what the policy asked for; it may be malformed.
            label: the trajectory that pays for it.
            shown: what stood on its path when the policy wrote the call.

        Returns:
            The result, or an observation of status `error` that tells the policy what it did wrong or that its budget is used up.

        Raises:
            BrokenError: infrastructure failed or a deadline passed; names the tool, the arguments and the label.
            BudgetError: the run's budget is used up.
            InputError: a replay needs a call that is not on the tape.
        """
        account = self._account(label)
        index = account.index
        account.index += 1
        account.ledger["calls"] += 1
        problem = self._problem(call) or self._used_up(call, account)
        if problem is not None:
            account.ledger["errors"] += 1
            return Observation(text=problem, status="error", tool=call.name)
        name = call.name
        key = f"calls/{name}"
        account.ledger[key] = account.ledger.get(key, 0.0) + 1
        token = LABEL.set(label)
        try:
            observation = await self._carry_out(self._lanes[name], call, account, index, shown)
        except BrokenError as error:
            raise BrokenError(f"{_named(call, label)}: {error}") from error
        finally:
            LABEL.reset(token)
        return self._finish(observation, name, account)

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

    def _used_up(self, call: ToolCall, account: Account) -> str | None:
        """That the trajectory's budget does not reach for a call, for the model; else the call is planned."""
        budget, price = self.config.budget, self._lanes[call.name].price
        text = None
        if budget.calls is not None and account.done >= budget.calls:
            text = f"The budget of {budget.calls} calls is used up. Give your answer now, with what you have found."
        elif budget.dollars is not None and (
            account.planned + price > budget.dollars * (1 + 1e-9) or account.planned + price == account.planned >= budget.dollars > 0
        ):
            text = f"The budget of ${budget.dollars:g} is used up. Give your answer now, with what you have found."
        if text is None:
            account.done += 1
            account.planned += price
        else:
            account.add("refused", 1.0, call.name)
        return text

    async def _carry_out(self, lane: Lane, call: ToolCall, account: Account, index: int, shown: Sequence[Observation]) -> Observation:
        if not lane.direct and (loop := asyncio.get_running_loop()) is not self._loop:
            self._rebind(loop)
        if not lane.facts.state:
            if self.recorder is None:
                return await lane.send(call.arguments, account, index)
            send = partial(lane.send, call.arguments, account, index)
            return await self.recorder.call(call.name, lane.version, call.arguments, "", account, index, send)
        log = account.states.setdefault(lane.facts.state, StateLog())
        position, shown = len(log.calls), shown if lane.facts.shown else ()
        history = log.append(call, shown)

        async def go_out() -> Observation:
            log.touched = True
            token = SHOWN.set(shown)
            try:
                observation = await lane.send(call.arguments, account, index, partial(self._rebuild, log, position))
            finally:
                SHOWN.reset(token)
            log.applied = position + 1
            return observation

        async with log.turn:
            if self.recorder is None:
                return await go_out()
            return await self.recorder.call(call.name, lane.version, call.arguments, history, account, index, go_out)

    async def _rebuild(self, log: StateLog, position: int) -> None:
        """Let the tools see the earlier calls that they have not seen: those that a tape answered, or another trajectory made."""
        while log.applied < position:
            call = log.calls[log.applied]
            token = SHOWN.set(log.shown[log.applied])
            try:
                # A mistake of the policy was one then, too.
                with suppress(ToolError):
                    await self._lanes[call.name].providers[0](**call.arguments)
            finally:
                SHOWN.reset(token)
            log.applied += 1

    def _rebind(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._hosts.rebind()
        for lane in self._lanes.values():
            lane.rebind()

    def _finish(self, observation: Observation, name: str, account: Account) -> Observation:
        """Charge the ledger, and trim."""
        ledger, usage = account.ledger, observation.usage
        ledger["seconds"] += observation.seconds
        key = f"seconds/{name}"
        ledger[key] = ledger.get(key, 0.0) + observation.seconds
        if observation.status == "error":
            ledger["errors"] += 1
            key = f"errors/{name}"
            ledger[key] = ledger.get(key, 0.0) + 1
        account.planned += usage.dollars - self._lanes[name].price
        if usage.dollars or usage.bytes or usage.tokens:
            account.add("dollars", usage.dollars, name)
            account.add("bytes", float(usage.bytes), name)
            account.add("tool_tokens", float(usage.tokens), name)
        if "fault" in observation.meta:
            account.add("faults", 1.0, name)
        limits = self._lanes[name].limits
        if len(observation.text) <= limits.max_chars:
            return observation
        account.add("trimmed", 1.0, name)
        text, left_out = _trim(observation.text, limits.max_chars, limits.trim)
        return replace(observation, text=text, truncated=observation.truncated + left_out)

    async def restore(
        self, label: str, calls: Sequence[ToolCall], *, shown: Sequence[Sequence[Observation]] | None = None, source: str | None = None
    ) -> None:
        """Put a trajectory where earlier calls have left another one: for forks, and for what is resumed or continued later.

        Args:
            label: the trajectory that goes on; opened before with `open` if it has a seed of its own.
            calls: all calls of its path so far, in order, malformed ones included.
            shown: per call what stood on the path when the policy wrote it; needed where a tool depends on it.
            source: a trajectory that is still open and has made them; tools that can copy its state do so. Without it, or where a tool
                cannot, the calls are made again right before the next one that needs the state.

        Raises:
            BrokenError: a tool could not copy in time.
        """
        account = self._account(label)
        account.index = len(calls)
        for number, call in enumerate(calls):
            if self._problem(call) is None:
                account.done += 1
                account.planned += self._lanes[call.name].price
                facts = self._lanes[call.name].facts
                if facts.state:
                    seen = shown[number] if facts.shown and shown is not None else ()
                    account.states.setdefault(facts.state, StateLog()).append(call, seen)
        for state, log in account.states.items() if source is not None else ():
            tools = [lane.tool for lane in self._lanes.values() if lane.facts.state == state]
            fork = next((found for tool in tools if (found := getattr(tool, "fork", None)) is not None), None)
            if fork is None or source not in self._accounts:
                continue
            log.touched = True
            try:
                async with asyncio.timeout(self.config.timeout):
                    if await fork(source, label, len(log.calls)):
                        log.applied = len(log.calls)
            except TimeoutError as error:
                raise BrokenError(f"trajectory {label}: '{state}' of {source} was not copied within {self.config.timeout:g} s") from error

    def bill(self, label: str) -> dict[str, float]:
        """What a trajectory has spent since its last bill; the account stays open and starts at 0.

        Returns:
            As `settle`.
        """
        account = self._account(label)
        spent, account.ledger = account.ledger, new_ledger()
        return spent

    def settle(self, label: str) -> dict[str, float]:
        """Close a trajectory's account; what its tools held is given back, in the background where that takes time (see `drain`).

        Returns:
            The ledger since the last `bill` (`docs/tools.md` lists its names): at least `calls`, `errors` and `seconds`.
        """
        account = self._accounts.pop(label, None)
        if account is None:
            return new_ledger()
        for lane in self._lanes.values():
            state = lane.facts.state
            settle = getattr(lane.tool, "settle", None)
            if settle is not None and (not state or (state in account.states and account.states[state].touched)):
                self._give_back(settle(label), f"{lane.tool.name}: trajectory {label}")
        return account.ledger

    def _give_back(self, closing: Any, what: str) -> None:
        if not inspect.isawaitable(closing):
            return

        async def bounded() -> None:
            try:
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await closing
            except Exception as error:
                # Nothing is lost for the trajectory, which has ended; what leaks should be seen.
                print(f"warning: {what} was not closed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(bounded())
            return
        task = asyncio.ensure_future(bounded())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def advance(self, progress: float) -> None:
        """Tell tools that have a schedule how much of the training is done, a share in [0, 1]."""
        for lane in self._lanes.values():
            lane.advance(progress)

    async def drain(self) -> None:
        """Wait until everything that ended trajectories held is given back."""
        while self._closing:
            await asyncio.wait(list(self._closing))

    async def close(self) -> None:
        """Settle all trajectories and close the tools and the tape. The gateway can not be used afterwards."""
        for label in list(self._accounts):
            self.settle(label)
        await self.drain()
        for name, tool in self.tools.items():
            if (close := getattr(tool, "close", None)) is not None:
                self._give_back(close(), name)
        await self.drain()
        if self.recorder is not None:
            self.recorder.tape.close()


def _named(call: ToolCall, label: str) -> str:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return f"trajectory {label}: {call.name}({arguments if len(arguments) <= 200 else arguments[:200] + '...'})"


def _trim(text: str, max_chars: int, how: str) -> tuple[str, int]:
    """The text cut to length with a note, and how many of its characters are left out."""
    kept = max_chars - _NOTE_CHARS
    left_out = len(text) - kept
    if how == "head":
        return f"{text[:kept]}\n[cut: {kept} of {len(text)} characters are shown]", left_out
    tail = kept // 3
    return f"{text[: kept - tail]}\n[cut: {left_out} of {len(text)} characters are left out here]\n{text[-tail:]}", left_out
