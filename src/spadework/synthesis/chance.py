"""Choices from a random stream, made with `random.random` and `random.shuffle` alone."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

__all__ = ["pick", "shuffled", "within"]

T = TypeVar("T")


def pick(options: Sequence[T], random: Random) -> T:
    """One of several."""
    return options[int(random.random() * len(options))]


def shuffled(options: Sequence[T], random: Random) -> list[T]:
    """A copy in random order."""
    mixed = list(options)
    random.shuffle(mixed)
    return mixed


def within(ends: tuple[int, int], random: Random) -> int:
    """A whole number between two, both included."""
    return ends[0] + int(random.random() * (ends[1] - ends[0] + 1))
