"""The tool contract: an async callable with a name and an OpenAI function schema that returns an observation.

A `ToolError` is text for the model. A `BrokenError` is infrastructure and breaks the trajectory. Anything else is a bug. Tools are never
called directly: the gateway (`tools/gateway.py`) is the one door.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

__all__ = ["Observation", "Tool"]


@dataclass(frozen=True, slots=True)
class Observation:
    """What an agent gets back from a tool."""

    text: str
    status: Literal["ok", "error"] = "ok"
    """`error`: the policy's own mistake, which the text explains."""
    tool: str = ""
    documents: tuple[str, ...] = ()
    """Ids of the documents that the text shows; evidence metrics read them."""
    seconds: float = 0.0


class Tool(Protocol):
    """Something an agent may call."""

    name: str
    schema: dict[str, Any]
    """OpenAI function schema: name, description, parameters."""

    # Type checkers take a tool with named arguments of its own for a Tool only if positional ones are written here too.
    async def __call__(self, *_: Any, **arguments: Any) -> Observation:
        """Carry out a call whose arguments already match the schema.

        Raises:
            ToolError: text for the model.
            BrokenError: infrastructure failed.
        """
        ...
