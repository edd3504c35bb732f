"""Rows of the result table, how a pair is measured, and how the table is written.

Both sides of a pair run in turns, so that whatever else the machine does hits both; a row holds the medians.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["Row", "interleave", "read", "show", "speed_row", "write"]


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison."""

    name: str
    ours: float
    peer: float
    ratio: float
    """Higher is better for us, whatever the unit."""
    unit: str
    n: int
    """Runs of each side, of which the medians are reported; for a parity row the number of tokens."""
    peer_name: str


def interleave(ours: Callable[[int], float], peer: Callable[[int], float], runs: int) -> tuple[list[float], list[float]]:
    """Seconds of both sides, one after the other.

    Args:
        ours: runs once, given the number of the run, and returns its seconds. Number 0 is a warm-up and may do less.
        peer: likewise.
        runs: measured pairs.
    """
    pairs = [(ours(number), peer(number)) for number in range(runs + 1)][1:]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def speed_row(name: str, ours: Sequence[float], peer: Sequence[float], *, peer_name: str, work: float | None = None) -> Row:
    """A row from the seconds of both sides.

    Args:
        name: of the row.
        ours: seconds of our runs.
        peer: seconds of the peer's.
        peer_name: library and setting.
        work: tokens of one run, to report tokens per second; seconds otherwise.
    """
    mine, theirs = median(ours), median(peer)
    ratio = round(theirs / mine, 2)
    if work is None:
        return Row(name, round(mine, 3), round(theirs, 3), ratio, "s", len(ours), peer_name)
    return Row(name, round(work / mine), round(work / theirs), ratio, "tokens/s", len(ours), peer_name)


def write(families: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Write the rows of all families as one list of objects, each with the name of its family."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"family": family, **asdict(row)} for family, rows in families.items() for row in rows]
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, list[Row]]:
    """The rows that `write` has written; none where there is no file."""
    families: dict[str, list[Row]] = {}
    for values in json.loads(path.read_text(encoding="utf-8")) if path.exists() else ():
        families.setdefault(values.pop("family"), []).append(Row(**values))
    return families


def show(rows: Sequence[Row], title: str, console: Console | None = None) -> None:
    """Print the rows as a table."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("comparison")
    for column in ("ours", "peer", "ratio"):
        table.add_column(column, justify="right")
    for column in ("unit", "n", "peer"):
        table.add_column(column)
    for row in rows:
        table.add_row(row.name, f"{row.ours:,.6g}", f"{row.peer:,.6g}", f"{row.ratio:,.4g} x", row.unit, str(row.n), row.peer_name)
    console = console or Console()
    if not console.is_terminal:
        console.width = 160  # a log has no width of its own, and names that are cut name nothing
    console.print(table)
