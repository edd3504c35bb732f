"""The sandbox contract: what it means to run Python that a model wrote, and which backend does it on this machine.

A backend turns limits into a command line; `session.py` starts it and speaks with the interpreter inside; `pool.py` keeps some warm.
The strongest backend that works here is chosen and named. There is no silent way down: without bubblewrap the sandbox refuses, and code
runs in a bare process only where the configuration asks for that in so many words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import Field

from spadework.core.config import Config

__all__ = ["Backend", "Launch", "Limits", "Result", "Spent"]


class Limits(Config):
    """What one call, or one sandbox, may use."""

    seconds: float = Field(default=10.0, gt=0)
    """Wall clock of one call."""
    cpu_seconds: int = Field(default=10, ge=1)
    """Processor time of each process in one call."""
    memory_mb: int = Field(default=2048, ge=256)
    """Address space of each process, and resident memory of all of them together, in MiB."""
    scratch_mb: int = Field(default=64, ge=1)
    """Size of /tmp, in MiB; also the largest file."""
    files: int = Field(default=10_000, ge=100)
    """Files and folders in /tmp."""
    processes: int = Field(default=32, ge=4)
    """Processes and threads at the same time."""
    open_files: int = Field(default=128, ge=32)
    """Open files of each process."""
    output_chars: int = Field(default=6000, ge=200)
    """Longest text of a result; the middle of a longer one is left out, with a note."""
    images: int = Field(default=4, ge=0)
    """Most figures of one result."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a sandbox was seen to use, for the check against its limits."""

    processes: int
    memory_mb: float
    files: int


@dataclass(frozen=True, slots=True)
class Result:
    """What one call gave."""

    text: str
    """Output, then the value of the last expression, then the traceback."""
    ok: bool
    """False if the code raised an exception or met a limit."""
    images: tuple[bytes, ...] = ()
    """Figures as PNG."""
    lost: bool = False
    """Whether the interpreter is gone, and all variables with it."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start the interpreter."""

    command: tuple[str, ...]
    """The interpreter and its arguments, as they are called inside; two numbers of descriptors follow."""
    argv: tuple[str, ...] = ()
    """What goes before it: the program that isolates."""
    inputs: tuple[tuple[tuple[str, ...], bytes, tuple[str, ...]], ...] = ()
    """More options of that program: words, content that is handed over in a descriptor whose number follows the words, more words."""
    environment: dict[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    """Folders with packages, as they are called inside."""
    confined: bool = True
    """Whether a process namespace holds everything that the code starts, so that all of it dies with its first process."""
    cwd: str = "/"
    uid: int = 0
    """The user that the interpreter becomes before it runs anything; 0: it keeps its own."""


class Backend(Protocol):
    """One way to isolate an interpreter."""

    @property
    def name(self) -> str:
        """As it stands in observations."""
        ...

    @property
    def isolation(self) -> Sequence[str]:
        """What isolates, for people."""
        ...

    def launch(self, limits: Limits) -> Launch:
        """The command for one interpreter."""
        ...
