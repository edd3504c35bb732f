"""Interpreters that are ready: a few are started ahead and have imported the large packages, so a call does not wait for that.

An interpreter is used by one trajectory only, or for one call only, and then thrown away; none goes back into the pool. At most
`concurrency` calls run at the same time, the others wait in order. Interpreters outlive an event loop; what belongs to a loop is made anew.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from spadework.core.errors import BrokenError
from spadework.tools.sandboxes.sandbox import Backend, Limits
from spadework.tools.sandboxes.session import Session

__all__ = ["Pool"]


class Pool:
    """Hands out interpreters."""

    def __init__(self, backend: Backend, limits: Limits, *, warm: int, concurrency: int, preload: Sequence[str] = ()) -> None:
        """Start nothing yet.

        Args:
            backend: how they are isolated.
            limits: of every call.
            warm: how many are ready; 0: each is started when it is needed.
            concurrency: most calls at the same time.
            preload: packages that those who are ready have imported.
        """
        self.backend, self.limits, self.warm, self.concurrency, self.preload = backend, limits, warm, concurrency, tuple(preload)
        self._ready: list[Session] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._permits = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._filling = False

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """One of the calls that may run at the same time."""
        self._bind()
        async with self._permits:
            yield

    async def take(self) -> Session:
        """An interpreter that nobody has used, ready or started now.

        Raises:
            BrokenError: it did not start.
        """
        self._bind()
        session = self._ready.pop() if self._ready else await Session.start(self.backend.launch(self.limits), self.limits)
        if not self._filling and len(self._ready) < self.warm:
            self._filling = True
            self._spawn(self._fill())
        return session

    async def fill(self) -> None:
        """Wait until as many are ready as should be.

        Raises:
            BrokenError: one did not start.
        """
        while len(self._ready) < self.warm:
            self._ready.append(await Session.start(self.backend.launch(self.limits), self.limits, self.preload))

    def dispose(self, session: Session) -> None:
        """End an interpreter: at once, and without waiting until the kernel has buried it."""
        self._bind()
        if session.alive:
            session.kill()
            # A task that is cancelled before it has begun does nothing; then the loop is ending too.
            self._spawn(session.close()).add_done_callback(lambda task: session.bury() if task.cancelled() else None)

    async def close(self) -> None:
        """End all that are ready, and wait for those that are ending."""
        self._bind()
        self.warm = 0
        while self._ready or self._tasks:  # one more may become ready while others end
            while self._ready:
                self.dispose(self._ready.pop())
            await asyncio.gather(*self._tasks)

    async def _fill(self) -> None:
        try:
            await self.fill()
        except BrokenError:
            pass  # the next call starts one itself, and is told
        finally:
            self._filling = False

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._permits = asyncio.Semaphore(self.concurrency)
            self._tasks, self._filling = set(), False
