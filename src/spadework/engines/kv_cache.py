"""Keys and values of many sequences, one row each, with their tokens beside them.

A row outlives its request: the next turn of a trajectory finds its own tokens there and continues without a prefill, and a sibling or a
fork finds a prefix and copies it. Matching is by tokens alone, so callers never name sessions. Rows and their length grow by doubling.

The positions of a head stand one after the other, so that attention reads each head from one end to the other.

Shapes: S rows, K key-value heads, L positions, E head size.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["KVCache"]


class KVCache:
    """Rows of cached sequences."""

    def __init__(self, layers: int, kv_heads: int, head_dim: int, rows: int, *, dtype: torch.dtype, device: torch.device) -> None:
        """Allocate `rows` rows; on a CPU, memory is taken as it is written to."""
        shape = (rows, kv_heads, 256, head_dim)
        self.keys = [_zeros(shape, dtype, device) for _ in range(layers)]
        self.values = [_zeros(shape, dtype, device) for _ in range(layers)]
        self.tokens: npt.NDArray[np.int64] = np.zeros((rows, 256), dtype=np.int64)
        self.assigned: npt.NDArray[np.int64] = np.zeros(rows, dtype=np.int64)
        """Number of tokens that stand in each row."""
        self.valid: npt.NDArray[np.int64] = np.zeros(rows, dtype=np.int64)
        """Number of leading tokens whose keys and values are cached."""
        self.busy: npt.NDArray[np.bool_] = np.zeros(rows, dtype=bool)
        """A request is running in the row."""
        self.origin: npt.NDArray[np.int64] = np.arange(rows)
        """A row with the same keys and values in its first `shared` positions; siblings have the same one, so that it is read once."""
        self.shared: npt.NDArray[np.int64] = np.zeros(rows, dtype=np.int64)
        self._used = np.zeros(rows, dtype=np.int64)
        self._clock = 0

    def reserve(self, length: int) -> None:
        """Make room for sequences of this length."""
        current = self.tokens.shape[1]
        if length <= current:
            return
        grown = max(length, 2 * current)
        self.tokens = np.pad(self.tokens, ((0, 0), (0, grown - current)))
        for tensors in (self.keys, self.values):
            for index, old in enumerate(tensors):
                new = _zeros((*old.shape[:2], grown, old.shape[3]), old.dtype, old.device)
                for row in self.valid.nonzero()[0]:
                    new[row, :, : self.valid[row]] = old[row, :, : self.valid[row]]
                tensors[index] = new

    def match(self, tokens: npt.NDArray[np.int64]) -> tuple[int, int, int]:
        """The row with the longest cached prefix of the tokens.

        Returns:
            Its index (-1: none), the length of the prefix, and the length that some row has assigned but not yet computed.
        """
        count = len(tokens)
        if count == 0 or not self.assigned.any():
            return -1, 0, 0
        equal = self.tokens[:, :count] == tokens
        common = np.where(equal.all(1), count, equal.argmin(1))
        cached = np.minimum(common, self.valid)
        # Among equals an idle row that the tokens extend comes first: it can be continued in place.
        row = int(np.argmax(cached * 2 + (~self.busy & (cached == self.valid))))
        promised = int(np.where(self.busy, np.minimum(common, self.assigned), 0).max())
        return (row if cached[row] else -1), int(cached[row]), promised

    def take(self, keep: int = -1) -> int | None:
        """A row for a new sequence: an empty one, else the idle one that was used longest ago; None if all are busy.

        Args:
            keep: a row that must stay, because a prefix will be copied from it.
        """
        self._clock += 1
        key = np.where(self.busy, np.iinfo(np.int64).max, np.where(self.assigned == 0, -1, self._used))
        if keep >= 0:
            key[keep] = np.iinfo(np.int64).max
        row = int(key.argmin())
        return None if key[row] == np.iinfo(np.int64).max else row

    def start(self, row: int, tokens: npt.NDArray[np.int64], source: int, prefix: int) -> None:
        """Put a sequence into a row, with the cached prefix of a source row (which may be the row itself)."""
        # What others share with this row is what stays in it.
        kept = prefix if source == row else 0
        followers = self.origin == row
        self.shared[followers] = np.minimum(self.shared[followers], kept)
        self.shared[row] = min(self.shared[row], kept)
        if source != row and prefix:
            for tensors in (self.keys, self.values):
                for tensor in tensors:
                    tensor[row, :, :prefix] = tensor[source, :, :prefix]
            self.origin[row] = self.origin[source] if self.shared[source] >= prefix else source
            self.shared[row] = prefix
        self.tokens[row, : len(tokens)] = tokens
        self.assigned[row] = len(tokens)
        self.valid[row] = prefix
        self.busy[row] = True
        self._used[row] = self._clock

    def release(self, row: int) -> None:
        """End a row's request; its tokens stay for whoever continues them."""
        self.busy[row] = False
        self._used[row] = self._clock

    def forget(self) -> None:
        """Everything cached is void: the weights changed. Running rows keep their tokens, to be computed again."""
        self.valid[:] = 0
        self.shared[:] = 0
        self.assigned[~self.busy] = 0

    def write(self, layer: int, rows_N: Tensor, positions_N: Tensor, k_NKE: Tensor, v_NKE: Tensor) -> None:
        """Store keys and values of flat tokens."""
        self.keys[layer][rows_N, :, positions_N] = k_NKE.to(self.keys[layer].dtype)
        self.values[layer][rows_N, :, positions_N] = v_NKE.to(self.values[layer].dtype)


def _zeros(shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros. On a CPU they come from NumPy, which leaves pages to the system until they are written; `torch.zeros` writes all of them."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    size = math.prod(shape) * dtype.itemsize
    buffer = np.zeros(size + 64, dtype=np.uint8)
    # Vectors are read a cache line at a time.
    aligned = -buffer.ctypes.data % 64
    return torch.from_numpy(buffer[aligned : aligned + size]).view(dtype).view(shape)
