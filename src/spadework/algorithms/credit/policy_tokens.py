"""Rewards, values and advantages as arrays over the policy tokens of a trajectory, and sums and moments over them.

Time runs over policy tokens in the order in which they were sampled, over all roots of a trajectory: observations lie between two steps of
time, not on it, so that a long page does not discount a reward. All arrays are float64, [P] with P the number of sampled tokens.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from spadework.trajectories.tree import Column, Node, Trajectory

__all__ = ["Row", "discounted_sums", "place_rewards", "read", "whiten", "write"]

Row = npt.NDArray[np.float64]


def place_rewards(trajectory: Trajectory) -> Row:
    """The rewards where they fall: spans on their tokens, a turn's on its last token, the trajectory's on the last token of all."""
    row = read(trajectory, "token_rewards")
    if not len(row):
        return row
    end = 0
    for node in trajectory.generations():
        end += node.num_sampled
        row[max(0, end - 1)] += node.reward  # a turn without tokens pays on the token before it
    row[-1] += trajectory.reward
    return row


def read(trajectory: Trajectory, column: str) -> Row:
    """A column of the nodes (`values`, `entropies`, `token_rewards`), copied; zeros for a node in which it is empty."""
    columns = [(node, getattr(node, column)) for node in trajectory.generations()]
    if not any([len(values) for _, values in columns]):
        return np.zeros(sum([node.num_sampled for node, _ in columns]))
    return np.concatenate([_sampled(node, values) for node, values in columns])


def _sampled(node: Node, values: Sequence[float]) -> Row:
    count = node.num_sampled
    if not len(values):
        return np.zeros(count)
    row = np.asarray(values.numbers if isinstance(values, Column) else values, dtype=np.float64)
    return row if count == len(row) else row[np.array(node.mask)]


def write(trajectory: Trajectory, **rows: Row) -> None:
    """Write rows with a value per policy token into the columns so named (`advantages`, `returns`, `values`), 0 elsewhere.

    A column may be a part of the row itself.
    """
    columns = [(name, np.ascontiguousarray(row).data) for name, row in rows.items()]
    done = 0
    for node in trajectory.nodes:
        count = node.num_sampled
        for name, numbers in columns:
            setattr(node, name, _column(node, numbers[done : done + count]))
        done += count


def _column(node: Node, numbers: memoryview) -> Sequence[float]:
    size, count = len(node.mask), len(numbers)
    if count == size:
        return Column(numbers)
    if not count:
        return [0.0] * size
    whole = np.zeros(size)
    whole[np.array(node.mask)] = numbers
    return Column(whole.data)


def discounted_sums(rows: Sequence[Row], factor: float) -> list[Row]:
    """Per row: out[t] = row[t] + factor * out[t + 1].

    Args:
        rows: arrays of any length.
        factor: 1 gives the sums to the end, 0 the rows themselves.
    """
    if factor == 1:
        return [_sum_to_end(row) for row in rows]
    length = max((len(row) for row in rows), default=0)
    # Aligned at their ends, all rows take a step of the recursion at once.
    table = np.zeros((length, len(rows)))
    for column, row in enumerate(rows):
        table[length - len(row) :, column] = row
    for time in range(length - 2, -1, -1):
        table[time] += factor * table[time + 1]
    return [table[length - len(row) :, column].copy() for column, row in enumerate(rows)]


def _sum_to_end(row: Row) -> Row:
    sums = np.empty_like(row)
    # Written backwards, so that the result lies in order in memory and need not be copied again.
    np.cumsum(row[::-1], out=sums[::-1])
    return sums


def whiten(rows: Sequence[Row]) -> Iterator[Row]:
    """(x - mean) / std with the moments of all rows together, as verl's `masked_whiten`; zeros if there is no spread.

    One row at a time, because memory that is written for the first time costs more than the arithmetic.
    """
    count = sum(map(len, rows))
    mean = math.fsum(float(row.sum()) for row in rows) / max(1, count)
    centred = (row - mean for row in rows)
    std = math.sqrt(math.fsum(float(row @ row) for row in centred) / max(1, count - 1))
    spread = std > 1e-9 * max(1.0, abs(mean))
    return ((row - mean) / std if spread else np.zeros_like(row) for row in rows)
