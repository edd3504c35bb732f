"""How the groups of a step are dealt over its optimiser updates: `epochs` passes over the batch, each in `mini_batches` parts.

A group is never split. Every pass deals anew, from a stream of its own, so a resumed run deals as the uninterrupted one. Parts differ by at
most one group; where there are fewer groups than parts, every group is an update of its own.
"""

from collections.abc import Sequence
from typing import TypeVar

from spadework.core.seeds import rng

__all__ = ["deal"]

T = TypeVar("T")


def deal(groups: Sequence[T], *, epochs: int, mini_batches: int, seed: int) -> list[list[T]]:
    """The groups of every update, in order.

    Args:
        groups: of the step. Within an update they keep their order.
        epochs: passes over the batch (verl's `ppo_epochs`).
        mini_batches: updates per pass.
        seed: of the step.
    """
    parts = min(mini_batches, len(groups))
    updates = []
    for epoch in range(epochs):
        order = list(range(len(groups)))
        rng(seed, epoch).shuffle(order)
        updates += [[groups[place] for place in sorted(order[part::parts])] for part in range(parts)]
    return updates
