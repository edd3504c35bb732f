"""Progress of anything that takes more than two seconds: how far, how fast, how much longer.

On a terminal a bar (rich); elsewhere plain lines, one every ten seconds and a last one, so that a log stays readable. All of it goes to the
standard error stream: standard output carries results only. Work that ends within two seconds prints nothing where there is no terminal.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from types import TracebackType
from typing import Self, TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

__all__ = ["Progress", "track"]

Item = TypeVar("Item")

_EVERY_SECONDS = 10.0
_QUIET_SECONDS = 2.0


class Progress:
    """A counter that shows itself. Use it as a context manager and call `advance`."""

    def __init__(
        self,
        description: str,
        total: int | None = None,
        *,
        done: int = 0,
        unit: str = "steps",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe the work.

        Args:
            description: what is being done, for example `rl`.
            total: how many units there are; None if not known.
            done: units that an earlier run has done already; they do not count for the rate.
            unit: what is counted, in the plural.
            stream: where to write; standard error if None.
            clock: seconds, rising.
        """
        self.description = description
        self.total = total
        self.unit = unit
        self.done = done
        self._first = done
        self._stream = stream or sys.stderr
        self._clock = clock
        self._bar: Bar | None = None
        self._note = ""
        self._told: int | None = None

    def __enter__(self) -> Self:
        """Start the clock."""
        self._start = self._shown = self._clock()
        if self._stream.isatty():
            rate = TextColumn("{task.fields[rate]}")
            note = TextColumn("{task.fields[note]}")
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                rate,
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                note,
            )
            self._bar = Bar(*columns, console=Console(file=self._stream), transient=False)
            self._task = self._bar.add_task(self.description, total=self.total, completed=self.done, rate="", note="")
            self._bar.start()
        return self

    def advance(self, count: int = 1, note: str = "") -> None:
        """Say that `count` more units are done.

        Args:
            count: how many.
            note: a few figures to show beside the bar, for example `reward 0.61`.
        """
        self.done += count
        self._note = note or self._note
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=self._rate(), note=self._note)
        elif self._clock() - self._shown >= _EVERY_SECONDS:
            self._line()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Show where the work ended."""
        if self._bar is not None:
            self._bar.stop()
        elif self._clock() - self._start >= _QUIET_SECONDS and self.done != self._told:
            self._line()

    def _rate(self) -> str:
        seconds = self._clock() - self._start
        rate = (self.done - self._first) / seconds if seconds > 0 else 0.0
        return f"{rate:.{0 if rate >= 100 else 2}f} {self.unit}/s"

    def _line(self) -> None:
        now = self._clock()
        self._shown, self._told = now, self.done
        seconds = now - self._start
        advanced = self.done - self._first
        parts = [f"{self.done}/{self.total} {self.unit}" if self.total else f"{self.done} {self.unit}", self._rate(), f"{seconds:.0f} s"]
        if self.total and advanced and self.done < self.total:
            parts.append(f"{seconds / advanced * (self.total - self.done):.0f} s left")
        if self._note:
            parts.append(self._note)
        print(f"{self.description}: {', '.join(parts)}", file=self._stream, flush=True)


def track(items: Iterable[Item], description: str, total: int | None = None, *, unit: str = "items") -> Iterator[Item]:
    """Go through items and show progress.

    Args:
        items: what to go through.
        description: what is being done.
        total: how many there are; the length of `items` where it has one.
        unit: what is counted, in the plural.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(description, total, unit=unit) as progress:
        for item in items:
            yield item
            progress.advance()
