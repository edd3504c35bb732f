"""Memory: a text of bounded size that the agent writes for itself, one per trajectory.

`memory_write` adds, `memory_read` shows, `memory_overwrite` puts a text of the agent's own in the place of all. What would not fit is
refused with the sizes, so that the agent condenses instead of losing something.

With `clean` there is `clean_memory` alone, as in SFR-DeepResearch (arXiv 2509.06283): there the memory is the packed history of the
trajectory, and what the agent passes takes its place. The tool records the text (`meta["memory"]`) and bounds it. Starting a new context
from it, and refusing other tools once the context is too long, is a move of the agent and not done here: a call has no say over the path
that it stands on.

The state is rebuilt from the calls (`Gateway.restore`): forks and resumed trajectories replay them, which costs nothing.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from spadework.core.errors import ToolError
from spadework.tools.function import tool
from spadework.tools.tool import Observation, Tool, ToolContext, ToolPart, current_label, register

__all__ = ["MemoryConfig"]

_STATE = "memory"


@register("memory")
class MemoryConfig(ToolPart):
    """A text that the agent keeps for itself: write, read, overwrite."""

    max_chars: int = Field(default=4000, ge=100)
    """Size of the memory."""
    clean: bool = False
    """Offer `clean_memory` alone, as SFR-DeepResearch does."""

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """The tools of one memory."""
        return _Memory(self.max_chars).tools(clean=self.clean)


class _Memory:
    """The memories of all trajectories that are open."""

    def __init__(self, max_chars: int) -> None:
        self.max_chars = max_chars
        self.texts: dict[str, str] = {}

    def keep(self, text: str) -> Observation:
        if len(text) > self.max_chars:
            raise ToolError(
                f"The memory would have {len(text)} characters; it holds {self.max_chars}. Write a shorter text that keeps what matters."
            )
        self.texts[current_label()] = text
        return Observation(text=f"Kept. The memory has {len(text)} of {self.max_chars} characters.", meta={"memory": text})

    def forget(self, label: str) -> None:
        self.texts.pop(label, None)

    def tools(self, *, clean: bool) -> list[Tool]:
        facts: dict[str, Any] = {"state": _STATE, "content": False, "version": str(self.max_chars), "settle": self.forget}

        @tool(**facts)
        def memory_write(text: str) -> Observation:
            """Add a line to your memory.

            Args:
                text: What to remember.
            """
            before = self.texts.get(current_label(), "")
            return self.keep(f"{before}\n{text}" if before else text)

        @tool(**facts)
        def memory_read() -> str:
            """Read your memory."""
            return self.texts.get(current_label(), "") or "The memory is empty."

        @tool(**facts)
        def memory_overwrite(text: str) -> Observation:
            """Replace all of your memory by another text, for example by a summary of it.

            Args:
                text: All that is to be remembered.
            """
            return self.keep(text)

        @tool(**facts)
        def clean_memory(content: str) -> Observation:
            """Replace your memory by your own summary of everything that you have seen and done so far.

            Args:
                content: All that is to be remembered: findings with their sources, and what is still open.
            """
            return self.keep(content)

        return [clean_memory] if clean else [memory_write, memory_read, memory_overwrite]
