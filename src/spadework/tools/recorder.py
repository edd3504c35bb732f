"""The tape's place in the gateway: what stands on the tape is answered from it, and what goes out is recorded.

Calls of one key that are in flight together go out once, so all of them see the same record, as they will in a replay. A tape that cannot
take a record (a full disk) loses nothing of the run: the observation goes to its trajectory, one line says so at once, and the number of
calls that are missing is kept.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from spadework.core.errors import BrokenError, InputError
from spadework.tools.account import Account
from spadework.tools.tape import Entry, Failure, Tape, TapeConfig, TapeError, call_key, canonical, encode
from spadework.tools.tool import Observation

__all__ = ["Recorder", "open_recorder"]


class Recorder:
    """Answers calls from a tape, and records."""

    def __init__(self, tape: Tape, *, mode: Literal["record", "replay"] = "record", miss: Literal["error", "live", "nearest"] = "error"):
        """Take an open tape.

        Args:
            tape: writable for `record`.
            mode: see `TapeConfig`.
            miss: see `TapeConfig`.
        """
        self.tape, self.mode, self.miss = tape, mode, miss
        self.unrecorded = 0
        """Calls that the tape could not take."""
        self._flights: dict[str, asyncio.Future[Observation | None]] = {}

    async def call(
        self,
        tool: str,
        version: str,
        arguments: dict[str, Any],
        history: str,
        account: Account,
        index: int,
        send: Callable[[], Awaitable[Observation]],
    ) -> Observation:
        """Answer a call.

        Args:
            tool: its name.
            version: of the tool.
            arguments: they match the schema.
            history: hash of the earlier calls of its state.
            account: of the trajectory.
            index: of the call within it.
            send: lets the call go out.

        Raises:
            BrokenError: it broke when it was recorded, or breaks now.
            InputError: it is not on the tape, and `miss` is `error`.
        """
        text = canonical(arguments)
        key = call_key(tool, version, text, history)
        if self.mode == "replay":
            if (failure := self.tape.failure(account.stream, index)) and (failure.tool, failure.arguments) == (tool, text):
                raise BrokenError(failure.error)
            if (found := self.tape.get(key)) is not None:
                return self._hit(found, tool, account)
            return await self._missed(tool, text, account, index, send)
        entry = Entry(key, tool, version, text, history, "")
        try:
            observation = await self._shared(entry, account, send)
        except BrokenError as error:
            failure = Failure(account.stream, index, tool, text, str(error))
            self._try(lambda: self.tape.put_failure(failure))
            raise
        self._try(lambda: self.tape.forget_failure(account.stream, index))
        return observation

    async def _shared(self, entry: Entry, account: Account, send: Callable[[], Awaitable[Observation]]) -> Observation:
        """The record of a key, made by whoever comes first."""
        while (flight := self._flights.get(entry.key)) is not None:
            # Its deadline is that of the call that is out; `wait` leaves it alone when we are cancelled.
            await asyncio.wait([flight])
            if (shared := flight.result()) is not None:
                return self._hit(shared, entry.tool, account)
        if (found := self.tape.get(entry.key)) is not None:
            return self._hit(found, entry.tool, account)
        flight = self._flights[entry.key] = asyncio.get_running_loop().create_future()
        observation = None
        try:
            observation = await send()
            made = replace(entry, observation=encode(observation))
            # Another process may have been first: its record stands.
            observation = self._try(lambda: self.tape.put(made)) or observation
            return observation
        finally:
            del self._flights[entry.key]
            flight.set_result(observation)

    async def _missed(self, tool: str, text: str, account: Account, index: int, send: Callable[[], Awaitable[Observation]]) -> Observation:
        if self.miss == "live":
            account.add("misses", 1.0, tool)
            return await send()
        shown = text if len(text) <= 200 else text[:200] + "..."
        if self.miss == "nearest":
            if (near := self.tape.nearest(tool, text)) is None:
                raise InputError(f"{self.tape.path}: no call of {tool} is on the tape, so none is near {shown}; record one")
            observation, entry, likeness = near
            account.add("misses", 1.0, tool)
            facts = {"arguments": entry.arguments, "likeness": round(likeness, 4)}
            return self._hit(replace(observation, meta={**observation.meta, "nearest": facts}), tool, account)
        raise InputError(
            f"{self.tape.path}: {tool}({shown}), call {index + 1} of trajectory {account.label}, is not on the tape; "
            "record it with tools.tape.mode=record, or set tools.tape.miss to live or nearest"
        )

    @staticmethod
    def _hit(observation: Observation, tool: str, account: Account) -> Observation:
        account.add("hits", 1.0, tool)
        account.add("saved", observation.usage.dollars, tool)
        return observation

    def _try(self, write: Callable[[], Observation | None]) -> Observation | None:
        """Write to the tape; a failure is loud but loses nothing else."""
        try:
            return write()
        except TapeError as error:
            if not self.unrecorded:
                print(f"warning: {' '.join(str(error).split())}; the run goes on, but its tape is incomplete", file=sys.stderr, flush=True)
            self.unrecorded += 1
            return None


def open_recorder(config: TapeConfig | None, folder: Path) -> Recorder | None:
    """What a run does with its tape, as its recipe says.

    Args:
        config: None for no tape.
        folder: of the run; its own tape is the file `tape` in it.

    Raises:
        TapeError: the tape cannot be opened.
    """
    if config is None or config.mode == "live":
        return None
    tape = Tape(config.path or folder / "tape", write=config.mode == "record")
    return Recorder(tape, mode=config.mode, miss=config.miss or "error")
