"""Which tasks a report shows before and after RL, and how often the verdict changed.

The choice is by rule, not by taste: wrong to right spread over hops, every kind of regression too, solved with fewer calls, and one that is
still wrong. The counts over all common tasks stand beside it, so the examples cannot be mistaken for the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from spadework.tasks.task import Task
from spadework.viewer.contents import Attempt

__all__ = ["CHANGES", "Change", "Pair", "choose", "pair_up"]

Change: TypeAlias = Literal["gained", "lost", "kept", "missed"]
CHANGES: tuple[Change, ...] = ("gained", "lost", "kept", "missed")
_QUOTA: dict[Change, int] = {"gained": 4, "lost": 2, "kept": 2, "missed": 1}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two attempts at one task, by an earlier and a later policy."""

    before: Attempt
    after: Attempt

    @property
    def task(self) -> Task:
        """The task of both."""
        return self.after.task

    @property
    def change(self) -> Change:
        """gained: wrong to right; lost: right to wrong; kept: right twice; missed: wrong twice."""
        if self.after.solved:
            return "kept" if self.before.solved else "gained"
        return "lost" if self.before.solved else "missed"

    @property
    def saved(self) -> int:
        """Calls that the later policy did not need."""
        return self.before.calls - self.after.calls


def pair_up(before: Sequence[Attempt], after: Sequence[Attempt]) -> list[Pair]:
    """Pair the first sample of every task that both have, in the order of `after`."""
    firsts: dict[str, Attempt] = {}
    for attempt in before:
        firsts.setdefault(attempt.task.id, attempt)
    pairs: dict[str, Pair] = {}
    for attempt in after:
        if attempt.task.id in firsts:
            pairs.setdefault(attempt.task.id, Pair(firsts[attempt.task.id], attempt))
    return list(pairs.values())


def choose(pairs: Sequence[Pair]) -> list[Pair]:
    """At most nine pairs: up to four gained, two lost, two solved with the most calls saved, one still wrong."""
    chosen = []
    for change, quota in _QUOTA.items():
        some = [pair for pair in pairs if pair.change == change]
        cheaper = sorted((pair for pair in some if pair.saved > 0), key=lambda pair: -pair.saved)
        chosen += (cheaper if change == "kept" else _spread(some))[:quota]
    return chosen


def _spread(pairs: Sequence[Pair]) -> list[Pair]:
    """Alternate between the numbers of hops, fewest first."""
    by_hops: dict[int, list[Pair]] = {}
    for pair in pairs:
        by_hops.setdefault(pair.task.hops, []).append(pair)
    queues = [by_hops[hops] for hops in sorted(by_hops)]
    longest = max((len(queue) for queue in queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
