"""Python: runs code that the model wrote, in a sandbox, and shows what it printed, the value of the last expression, and figures.

`state: trajectory` keeps one interpreter per trajectory, so variables survive between calls; `state: none` gives every call a fresh one.
An exception is the policy's own mistake, and so is a limit that the code met: status `error`, with a short traceback or the name of the
limit. When a limit or a crash ends the interpreter, the text says that the state is lost. A sandbox that can not be started is
infrastructure: `BrokenError`. What is isolated, and what is not: `docs/sandbox.md`.
"""

import asyncio
import sys
from collections.abc import Awaitable, Sequence
from typing import Any, Literal

from pydantic import Field

from spadework.core.errors import BrokenError, ToolError
from spadework.tools.sandboxes.choose import Choice, choose
from spadework.tools.sandboxes.pool import Pool
from spadework.tools.sandboxes.sandbox import Backend, Limits, Result
from spadework.tools.sandboxes.session import Session
from spadework.tools.tool import Facts, Image, Observation, Tool, ToolContext, ToolPart, current_label, register

__all__ = ["PythonConfig", "PythonTool"]

_MOST_CHARS = 200_000
_LOST = "The interpreter was restarted: all variables, imports and files in /tmp are lost."


@register("python")
class PythonConfig(ToolPart):
    """Run Python in a sandbox."""

    state: Literal["trajectory", "none"] = "trajectory"
    """`trajectory`: variables survive from call to call. `none`: every call has a fresh interpreter."""
    sandbox: Choice = "strongest"
    """`strongest`, `bubblewrap`, or `none-i-know-what-i-am-doing`, which gives the code everything that you may do."""
    limits: Limits = Limits()
    """Of one call and of one interpreter."""
    warm: int = Field(default=2, ge=0)
    """Interpreters that stand ready."""
    concurrency: int = Field(default=8, ge=1)
    """Most calls at the same time; the others wait."""
    sessions: int = Field(default=128, ge=1)
    """Most trajectories that hold an interpreter at the same time."""
    preload: tuple[str, ...] = ("numpy",)
    """Packages that interpreters in waiting have imported, so that an import takes no time."""

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """The tool `python`.

        Raises:
            InputError: there is no sandbox on this machine.
        """
        backend = choose(self.sandbox)
        if backend.name == "none":
            print(f"warning: tool 'python' runs without a sandbox; {'; '.join(backend.isolation)}", file=sys.stderr, flush=True)
        return [PythonTool(backend, self)]


class PythonTool:
    """The tool `python`."""

    name = "python"

    def __init__(self, backend: Backend, config: PythonConfig | None = None) -> None:
        self.backend = backend
        self.config = config or PythonConfig()
        kept = self.config.state == "trajectory"
        version = f"{sys.version_info.major}.{sys.version_info.minor} {self.config!r}"
        self.facts = Facts(version=version, state=self.name if kept else "", retry=not kept, content=False)
        memory = "Variables are kept from call to call." if kept else "Every call starts anew."
        description = (
            "Run Python code, without a network. You get what it prints, the value of the last expression, and matplotlib figures. "
            + memory
        )
        code = {"type": "string", "description": "Python source code; NumPy can be imported."}
        self.schema: dict[str, Any] = {
            "name": self.name,
            "description": description,
            "parameters": {"type": "object", "properties": {"code": code}, "required": ["code"], "additionalProperties": False},
        }
        limits = self.config
        self.pool = Pool(backend, limits.limits, warm=limits.warm, concurrency=limits.concurrency, preload=limits.preload)
        self._sessions: dict[str, Session] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def __call__(self, *, code: str) -> Observation:
        """Run code.

        Raises:
            ToolError: there is no code, or far too much.
            BrokenError: the sandbox does not start, or too many trajectories hold one.
        """
        if not code.strip():
            raise ToolError("The code is empty. Write Python source code.")
        if len(code) > _MOST_CHARS:
            raise ToolError(f"The code has {len(code)} characters; the most are {_MOST_CHARS}.")
        if self.config.state == "none":
            async with self.pool.permit():
                session = await self.pool.take()
                try:
                    return self._observation(await session.run(code), session)
                finally:
                    self.pool.dispose(session)
        label = current_label()
        async with self._turns.setdefault(label, asyncio.Lock()), self.pool.permit():
            session = await self._session(label)
            try:
                return self._observation(await session.run(code), session)
            finally:
                if not session.alive:
                    self._sessions.pop(label, None)

    def settle(self, label: str) -> Awaitable[None] | None:
        """The trajectory has ended: end its interpreter."""
        self._turns.pop(label, None)
        session = self._sessions.pop(label, None)
        return session.close() if session is not None else None

    async def close(self) -> None:
        """End all interpreters."""
        sessions, self._sessions = self._sessions, {}
        self._turns.clear()
        for session in sessions.values():
            self.pool.dispose(session)
        await self.pool.close()

    async def _session(self, label: str) -> Session:
        if label not in self._sessions:
            if len(self._sessions) >= self.config.sessions:
                raise BrokenError(
                    f"{len(self._sessions)} trajectories hold an interpreter; raise 'sessions', or run fewer at the same time"
                )
            self._sessions[label] = await self.pool.take()
        return self._sessions[label]

    def _observation(self, result: Result, session: Session) -> Observation:
        notes = [f"[{len(result.images)} figure{'s' if len(result.images) > 1 else ''}]"] if result.images else []
        if result.lost and self.config.state == "trajectory":
            notes.append(_LOST)
        text = "\n".join([part for part in (result.text, *notes) if part]) or "[no output]"
        meta = {"sandbox": self.backend.name, "landlock": session.landlock, "lost": result.lost}
        if self.backend.name == "none":
            meta["warning"] = "; ".join(self.backend.isolation)
        images = tuple(Image("image/png", data) for data in result.images)
        return Observation(text, "ok" if result.ok else "error", images=images, meta=meta)
