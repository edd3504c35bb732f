"""The tool contract: an async callable with a name and an OpenAI function schema that returns an observation.

A `ToolError` is text for the model. A `BrokenError` is infrastructure and breaks the trajectory; a `TransientError` is one that may pass,
so the gateway tries again first. Anything else is a bug. Tools are never called directly: the gateway (`tools/gateway.py`) is the one door.

What the gateway should know about a tool stands in `facts`; every fact has a default. Three optional methods belong to tools that keep
something alive: `settle(label)` forgets the state of a trajectory, `fork(old, new, calls)` copies it, `close()` gives everything back.

A recipe names tools by their parts: a frozen config that is registered under a name and builds one or several tools.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from spadework.core.errors import BrokenError, InputError
from spadework.core.registry import Part, Registry
from spadework.corpus.document import Corpus

__all__ = [
    "LABEL",
    "SHOWN",
    "Facts",
    "Image",
    "Observation",
    "Provider",
    "Tool",
    "ToolContext",
    "ToolPart",
    "TransientError",
    "Usage",
    "current_label",
    "current_shown",
    "facts_of",
    "register",
    "tools",
]


class TransientError(BrokenError):
    """Infrastructure failed in a way that may pass: too many requests, a server error, a reset connection, no answer in time."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """Say what failed.

        Args:
            message: names the server or the thing.
            retry_after: seconds that the server asked to wait (HTTP `Retry-After`).
        """
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, as bytes or by reference; one of `data` and `url` is set."""

    mime: str
    """For example `image/png`."""
    data: bytes = b""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call has cost."""

    bytes: int = 0
    """Received over the network or read from files."""
    tokens: int = 0
    """Of models behind the tool, for example a reranker or a simulated search engine."""
    dollars: float = 0.0
    """Price of the call; 0 leaves it to `Facts.price`."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What an agent gets back from a tool."""

    text: str
    status: Literal["ok", "error"] = "ok"
    """`error`: the policy's own mistake, or something that it can react to; the text explains."""
    tool: str = ""
    """Filled in by the gateway."""
    documents: tuple[str, ...] = ()
    """Ids of the documents that the text shows; evidence metrics read them."""
    seconds: float = 0.0
    """Filled in by the gateway; with a tape, the seconds of the call that was recorded."""
    images: tuple[Image, ...] = ()
    links: tuple[str, ...] = ()
    """Addresses that the text links to, in its order."""
    usage: Usage = Usage()
    truncated: int = 0
    """Characters of the whole text that are not shown; 0 where all of it is."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Facts that JSON can carry, for people and metrics; the model does not see them. The gateway writes `provider`, `fault`, `nearest`."""

    def stamped(self, tool: str, seconds: float, usage: Usage) -> "Observation":
        """The same with what the gateway knows; ten times as fast as `dataclasses.replace`, which every call would feel."""
        return Observation(self.text, self.status, tool, self.documents, seconds, self.images, self.links, usage, self.truncated, self.meta)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the gateway should know about a tool."""

    version: str | Callable[[], str] = "1"
    """Part of the tape's key. Another version: the same arguments may now give another result. Put in what else decides the result, such as
    the hash of a corpus or options; a function is asked once, and only if there is a tape."""
    inline: bool = False
    """A call never waits, so it needs no deadline, permit or second attempt."""
    state: str = ""
    """Name of the state per trajectory that a call reads or changes, empty for none: a result then depends on the trajectory's earlier
    calls. Tools that share a state (write and read of one memory) give the same name. The tool keeps it under `current_label()`."""
    shown: bool = False
    """Whether a result depends on what the trajectory has been shown so far, which the tool reads with `current_shown()`. Only with a
    state."""
    retry: bool = True
    """Whether a call that failed may be sent again; False where a second delivery would do something twice."""
    price: float = 0.0
    """Dollars per call, where an observation's `usage` does not say."""
    host: str | Callable[[dict[str, Any]], str] = ""
    """The host that a call goes to, for limits per host; a function of the arguments where they decide it."""
    content: bool = True
    """Whether the text comes from pages or documents, so that faults of pages (truncated, stale, poisoned ...) make sense."""


class Provider(Protocol):
    """One of several ways to carry out the same call, tried in order. May have `facts` of its own (`host`, `price`, `retry`)."""

    name: str

    async def __call__(self, *_: Any, **arguments: Any) -> Observation:
        """As a tool."""
        ...


class Tool(Protocol):
    """Something an agent may call.

    Optional attributes: `facts` (`Facts`) and `providers` (a sequence of `Provider`, called instead of the tool itself). Optional methods:

        def settle(self, label: str) -> Awaitable[None] | None          the trajectory has ended: forget its state
        async def fork(self, old: str, new: str, calls: int) -> bool    copy old's state as it was after its first `calls` calls of this
                                                                        state; False if that cannot be done, and the calls are replayed
        async def close(self) -> None                                   give everything back
        def advance(self, progress: float) -> None                      so much of the training is done, a share in [0, 1]; where results
                                                                        depend on it, so does `Facts.version`
    """

    name: str
    schema: dict[str, Any]
    """OpenAI function schema: name, description, parameters."""

    # Type checkers take a tool with named arguments of its own for a Tool only if positional ones are written here too.
    async def __call__(self, *_: Any, **arguments: Any) -> Observation:
        """Carry out a call whose arguments already match the schema.

        Raises:
            ToolError: text for the model.
            TransientError: infrastructure failed; trying again may help.
            BrokenError: infrastructure failed for good; the next provider is tried.
        """
        ...


LABEL: ContextVar[str] = ContextVar("spadework_label", default="")
"""Set by the gateway around every call; tools read it with `current_label`."""


SHOWN: ContextVar[Sequence[Observation]] = ContextVar("spadework_shown", default=())
"""Set by the gateway around calls of tools that ask for it (`Facts.shown`); tools read it with `current_shown`."""


def current_label() -> str:
    """The trajectory on whose behalf the running call is made, `TASK_ID/SAMPLE`; empty outside of the gateway."""
    return LABEL.get()


def current_shown() -> Sequence[Observation]:
    """What stood on the running call's path when the policy wrote the call, oldest first: text as it was shown, tool, status, documents."""
    return SHOWN.get()


def facts_of(tool: object) -> Facts:
    """The facts of a tool or provider, or the defaults."""
    facts = getattr(tool, "facts", None)
    return facts if isinstance(facts, Facts) else Facts()


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What parts may build upon."""

    corpus: Corpus | None = None
    """The pages that search and read show."""
    seed: int = 0
    folder: Path | None = None
    """The run's folder, for what should be kept."""
    extras: dict[str, Any] = field(default_factory=dict)
    """Other things by name, such as an engine for tools behind which a model stands."""

    def need_corpus(self, name: str) -> Corpus:
        """The corpus.

        Raises:
            InputError: there is none.
        """
        if self.corpus is None:
            raise InputError(f"tool '{name}' needs a corpus; name one with --corpus DIR")
        return self.corpus


class ToolPart(Part):
    """What a recipe says about a tool: its options. `build` makes it."""

    @abstractmethod
    def build(self, context: ToolContext) -> Sequence[Tool]:
        """Make the tool, or the tools that belong together. Heavy and optional packages are imported here.

        Raises:
            InputError: something that it needs is missing; the message says what to install or name.
        """


tools: Registry[ToolPart] = Registry("tool", "spadework.tools")
"""All registered tools."""
register = tools.register
