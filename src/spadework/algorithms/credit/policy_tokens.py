"""Rewards, values and advantages as arrays over the policy tokens of a trajectory, and sums and moments over them.

Time runs over policy tokens in the order in which they were sampled, over all roots of a trajectory: observations lie between two steps of
time, not on it, so that a long page does not discount a reward. All arrays are float64, [P] with P the number of sampled tokens.
"""

from collections.abc import Sequence
from itertools import compress

import numpy as np
import numpy.typing as npt

from spadework.trajectories.tree import Node, Trajectory

__all__ = ["Row", "discounted_sums", "place_rewards", "read", "whiten", "write"]

Row = npt.NDArray[np.float64]


def place_rewards(trajectory: Trajectory) -> Row:
    """The rewards where they fall: spans on their tokens, a turn's on its last token, the trajectory's on the last token of all."""
    row = read(trajectory, "token_rewards")
    end = 0
    for node in trajectory.generations():
        end += node.num_sampled
        if len(row):
            # A turn without tokens pays on the token before it.
            row[max(0, end - 1)] += node.reward
    if len(row):
        row[-1] += trajectory.reward
    return row


def read(trajectory: Trajectory, column: str) -> Row:
    """A column of the nodes (`values`, `entropies`, `token_rewards`); zeros for a node in which it is empty."""
    parts = [_sampled(node, getattr(node, column)) for node in trajectory.generations()]
    return np.concatenate(parts) if parts else np.zeros(0)


def _sampled(node: Node, values: Sequence[float]) -> Row:
    count = node.num_sampled
    if not values:
        return np.zeros(count)
    return np.array(values if count == len(values) else list(compress(values, node.mask)), dtype=np.float64)


def write(trajectory: Trajectory, row: Row, column: str = "advantages") -> None:
    """Write a value per policy token into a column (`advantages`, `returns`), 0 elsewhere."""
    start = 0
    for node in trajectory.nodes:
        count = node.num_sampled
        part = row[start : start + count]
        start += count
        if count and count < len(node.mask):
            values = np.zeros(len(node.mask))
            values[np.flatnonzero(node.mask)] = part
            filled = values.tolist()
        elif count and (part == part[0]).all():
            filled = [float(part[0])] * count  # much faster than making as many numbers
        else:
            filled = part.tolist() if count else [0.0] * len(node.mask)
        setattr(node, column, filled)


def discounted_sums(rows: Sequence[Row], factor: float) -> list[Row]:
    """Per row: out[t] = row[t] + factor * out[t + 1].

    Args:
        rows: arrays of any length.
        factor: 1 gives the sums to the end, 0 the rows themselves.
    """
    if factor == 1:
        return [np.cumsum(row[::-1])[::-1] for row in rows]
    length = max((len(row) for row in rows), default=0)
    # Aligned at their ends, all rows take a step of the recursion at once.
    table = np.zeros((length, len(rows)))
    for column, row in enumerate(rows):
        table[length - len(row) :, column] = row
    for time in range(length - 2, -1, -1):
        table[time] += factor * table[time + 1]
    return [table[length - len(row) :, column].copy() for column, row in enumerate(rows)]


def whiten(rows: Sequence[Row]) -> list[Row]:
    """(x - mean) / std with the moments of all rows together, as verl's `masked_whiten`; zeros if there is no spread."""
    everything = np.concatenate(rows) if rows else np.zeros(0)
    if len(everything) < 2:
        return [np.zeros_like(row) for row in rows]
    mean, std = float(everything.mean()), float(everything.std(ddof=1))
    if std <= 1e-9 * max(1.0, abs(mean)):
        return [np.zeros_like(row) for row in rows]
    return [(row - mean) / std for row in rows]
