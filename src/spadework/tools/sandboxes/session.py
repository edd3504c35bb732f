"""One interpreter in its sandbox: started, asked, watched, stopped.

The supervisor trusts nothing that comes out. Output is read within bounds whatever its speed; a reply is read by `frames.py`; wall clock,
memory, processes and files are looked at from outside. After a call everything that the code has started is ended, and the interpreter is
frozen (SIGSTOP) until its next call, so that a thread that goes on costs nothing. Whatever breaks a rule costs the code its state: the
first process of the process namespace is killed, and the kernel takes all others with it.

Signals go through process descriptors, never through numbers, which the system hands out again. Descriptors are watched by the event
loop only while a call runs, so a session outlives the loop that started it.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from spadework.core.errors import BrokenError
from spadework.tools.sandboxes.frames import FrameError, FrameReader, encode, read_reply
from spadework.tools.sandboxes.output import Output, shorten
from spadework.tools.sandboxes.sandbox import Launch, Limits, Result
from spadework.tools.sandboxes.watch import children, spent

__all__ = ["Session"]

_START_SECONDS, _END_SECONDS = 20.0, 10.0
_WATCH_SECONDS = 0.05
_FLOOD_BYTES = 16 << 20
_CALM_SECONDS = 0.25
"""How long the kernel gets to bury processes that were ended after a call."""


@dataclass(frozen=True, slots=True)
class _Stop:
    """Why a call ended without a reply; empty if the interpreter is gone."""

    reason: str = ""


class Session:
    """An interpreter that is running; made by `Session.start`."""

    def __init__(self, launch: Launch, limits: Limits) -> None:
        """Start the process, without waiting for anything."""
        self.launch = launch
        self.limits = limits
        self.landlock = 0
        self.alive = True
        self.calls = 0
        self._first = self._second = -1
        """Process descriptors: of the namespace's first process, and of the interpreter."""
        self._head = 0
        """Number of the namespace's first process, as the host counts."""
        self._frames = FrameReader()
        self._output = Output(limits.output_chars * 4)
        self._outcome: asyncio.Future[bytes | _Stop] | None = None
        self._timer: asyncio.TimerHandle | None = None
        request_end, self._requests = os.pipe()
        self._replies, reply_end = os.pipe()
        self._printed, print_end = os.pipe()
        self._info, info_end = os.pipe()
        for descriptor in (self._requests, self._replies, self._printed, self._info):
            os.set_blocking(descriptor, False)
        given = [request_end, reply_end, print_end, info_end]
        try:
            self._process = _popen(launch, given)
        except BaseException:
            for descriptor in (self._requests, self._replies, self._printed, self._info):
                os.close(descriptor)
            raise
        finally:
            for descriptor in given:
                os.close(descriptor)

    @classmethod
    async def start(cls, launch: Launch, limits: Limits, preload: Sequence[str] = ()) -> "Session":
        """Start an interpreter and wait until it is confined.

        Args:
            launch: from a backend.
            limits: of each call.
            preload: packages that it imports already now, as far as they are there.

        Raises:
            BrokenError: it did not come up; the message has what it printed.
        """
        session = cls(launch, limits)
        try:
            setup = limits.model_dump() | {"paths": launch.paths, "uid": launch.uid, "confined": launch.confined}
            session.landlock = int(json.loads(await session._ask(setup, _START_SECONDS))["landlock"])
            if launch.confined:
                session._find_processes()
            if preload:
                await session._ask({"code": "", "preload": list(preload)}, _START_SECONDS)
            session._freeze()
        except (FrameError, OSError, KeyError, TypeError, ValueError) as error:
            await session.close()
            raise BrokenError(f"the sandbox did not start: {session._output.text().strip() or error}") from error
        except BaseException:
            session.bury()
            raise
        session._output = Output(limits.output_chars * 4)
        return session

    async def run(self, code: str) -> Result:
        """Run code.

        Returns:
            What it printed, gave and raised, or which limit it met. If `lost`, the session has ended.

        Raises:
            BrokenError: the sandbox can not be ended.
        """
        self.calls += 1
        nonce = secrets.token_hex(16)
        value: str | None = None
        images: tuple[bytes, ...] = ()
        try:
            body = await self._ask({"code": code}, self.limits.seconds, nonce)
            value, error, images = read_reply(body, nonce, images=self.limits.images)
            stop = await self._settle()
        except FrameError as problem:
            error, stop = None, str(problem)
        except BaseException:
            self.bury()
            raise
        if stop is not None:
            await self.close()
            error = "\n".join(part for part in (error, stop or self._end()) if part)
        text = "\n".join(part.rstrip("\n") for part in (self._output.text(), value, error) if part)
        self._output = Output(self.limits.output_chars * 4)
        return Result(shorten(text, self.limits.output_chars), error is None, images, lost=stop is not None)

    async def _ask(self, message: dict[str, object], seconds: float, nonce: str = "") -> bytes:
        """Send a request and wait for the body of the reply; FrameError with the reason if there is none."""
        loop = asyncio.get_running_loop()
        outcome = self._outcome = loop.create_future()
        pending = memoryview(encode({"id": nonce, **message}))

        def write() -> None:
            nonlocal pending
            try:
                pending = pending[os.write(self._requests, pending) :]
            except BlockingIOError:
                return
            except BrokenPipeError:
                pending = pending[:0]  # the interpreter is going; the end of its replies tells when it has gone
            if not pending:
                loop.remove_writer(self._requests)

        self._signal(signal.SIGCONT)
        loop.add_reader(self._replies, self._read_reply)
        loop.add_reader(self._printed, self._read_output)
        loop.add_writer(self._requests, write)
        self._timer = loop.call_later(_WATCH_SECONDS, self._watch)
        try:
            async with asyncio.timeout(seconds):
                found = await outcome
        except TimeoutError:
            found = _Stop(f"The time limit of {seconds:g} s was reached.")
        finally:
            self._timer.cancel()
            if self.alive:
                loop.remove_reader(self._replies)
                loop.remove_reader(self._printed)
                loop.remove_writer(self._requests)
        self._read_output()
        if isinstance(found, _Stop):
            raise FrameError(found.reason)
        return found

    def _finish(self, outcome: bytes | _Stop) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(outcome)

    def _read_reply(self) -> None:
        try:
            data = os.read(self._replies, 1 << 18)
            body = self._frames.feed(data)
        except BlockingIOError:
            return
        except FrameError as error:
            self._finish(_Stop(f"The interpreter sent {error}."))
            return
        if not data:
            self._finish(_Stop())
        elif body is not None:
            self._finish(body)

    def _read_output(self) -> None:
        for _ in range(16):  # then the others have a turn
            try:
                data = os.read(self._printed, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                if self._outcome is not None and not self._outcome.done():
                    asyncio.get_running_loop().remove_reader(self._printed)
                break
            self._output.add(data)
        if self._output.total > _FLOOD_BYTES:
            self._finish(_Stop(f"The code printed more than {_FLOOD_BYTES >> 20} MiB."))

    def _watch(self) -> None:
        if problem := self._excess():
            self._finish(_Stop(problem))
        else:
            self._timer = asyncio.get_running_loop().call_later(_WATCH_SECONDS, self._watch)

    def _excess(self) -> str | None:
        if not self._head:
            return None
        used = spent(self._head, self.limits.memory_mb)
        if used.memory_mb > self.limits.memory_mb:
            return f"The memory limit of {self.limits.memory_mb} MiB for all processes together was reached."
        if used.files > self.limits.files:
            return f"The limit of {self.limits.files} files in /tmp was reached."
        return None

    async def _settle(self) -> str | None:
        """After a reply: nothing may run on, and nothing may wait in the channel. The reason if the session can not be used again."""
        if self._waiting():
            return "The interpreter sent bytes after the end of a message."
        if problem := self._excess():
            return problem
        self._freeze()
        loop = asyncio.get_running_loop()
        end = loop.time() + _CALM_SECONDS
        while self._head and len(children(self._head)) > 1:
            if loop.time() > end:
                return "The code left processes behind that could not be ended."
            await asyncio.sleep(0.002)
        return None

    def _waiting(self) -> bool:
        try:
            os.read(self._replies, 1)
        except BlockingIOError:
            return False
        return True

    def _find_processes(self) -> None:
        self._head = int(json.loads(os.read(self._info, 4096))["child-pid"])
        self._first = os.pidfd_open(self._head)
        [interpreter] = children(self._head)
        self._second = os.pidfd_open(interpreter)
        if not spent(self._head, self.limits.memory_mb).memory_mb:
            raise OSError("its memory can not be watched")

    def _freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        if self._second >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._second, number)

    def _end(self) -> str:
        """How an interpreter that is gone came to its end."""
        status = self._process.returncode
        number = -status if status < 0 else status - 128
        if number == signal.SIGXCPU:
            return f"The processor-time limit of {self.limits.cpu_seconds} s was reached."
        name = signal.Signals(number).name if number in set(signal.Signals) else ""
        return f"The interpreter crashed ({name})." if name else f"The interpreter ended with status {status}."

    def kill(self) -> None:
        """End everything inside at once and give back the descriptors; `close` also waits until it is gone."""
        if not self.alive:
            return
        self.alive = False
        with contextlib.suppress(RuntimeError):
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._replies)
            loop.remove_reader(self._printed)
            loop.remove_writer(self._requests)
        self._send_kill()
        for descriptor in (self._requests, self._replies, self._printed, self._info, self._first, self._second):
            if descriptor >= 0:
                os.close(descriptor)
        self._first = self._second = -1

    def bury(self) -> None:
        """As `close`, but blocking, for where the event loop may be about to end: a hundredth of a second on an idle machine."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)

    def _send_kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._first >= 0:
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            elif self._process.poll() is None and not (self.launch.confined and self._kill_second()):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _kill_second(self) -> bool:
        # While bubblewrap starts, its second process would wait for ever for a first one that was killed alone. When the second is killed,
        # the first buries it and goes.
        found = children(self._process.pid)
        for pid in found:
            descriptor = os.pidfd_open(pid)
            if pid in children(self._process.pid):  # else the number may be another's by now
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
        return bool(found)

    async def close(self) -> None:
        """End everything inside, and wait until the kernel has buried it: bubblewrap returns only then.

        Raises:
            BrokenError: it is still there after ten seconds.
        """
        try:
            async with asyncio.timeout(_END_SECONDS):
                # A crash ends by itself, and its status says how: give it a moment.
                for _ in range(25):
                    if self._outcome is None or self._process.poll() is not None or not self._gone():
                        break
                    await asyncio.sleep(0.002)
                if self.alive:
                    self._read_output()
                self.kill()
                while self._process.poll() is None:
                    await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            self.bury()
            raise
        except TimeoutError:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise BrokenError(f"a sandbox did not end within {_END_SECONDS:g} s (process {self._process.pid})") from None

    def _gone(self) -> bool:
        """Whether the channel from the interpreter is closed."""
        try:
            return self.alive and not os.read(self._replies, 1)
        except BlockingIOError:
            return False


def _popen(launch: Launch, given: list[int]) -> subprocess.Popen[bytes]:
    request_end, reply_end, print_end, info_end = given
    contents: list[int] = []
    try:
        argv = list(launch.argv)
        if launch.confined:
            argv += ["--info-fd", str(info_end)]
        for words, content, more in launch.inputs:
            descriptor = os.memfd_create("spadework")
            contents.append(descriptor)
            os.write(descriptor, content)
            os.lseek(descriptor, 0, os.SEEK_SET)
            argv += [*words, str(descriptor), *more]
        argv += ["--"] if argv else []
        argv += [*launch.command, str(request_end), str(reply_end)]
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=print_end,
            stderr=print_end,
            env=launch.environment,
            cwd=launch.cwd,
            pass_fds=[request_end, reply_end, *([info_end] if launch.confined else []), *contents],
            start_new_session=True,
        )
    except OSError as error:
        raise BrokenError(f"the sandbox did not start: {error}") from error
    finally:
        for descriptor in contents:
            os.close(descriptor)
