"""Block attention over a packed forest: every token attends to itself, to what precedes it in its segment, and to the segment's ancestors.

A prompt that eight trajectories share stands in the pack once, and its keys and values serve all eight. Segments of similar
length with the same ancestors form a block that is padded, attended to in one call, and gathered back, so the cost is linear in the pack and
no [N, N] mask is made. The gradient equals that of the unpacked sequences; a test compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Block", "PackedAttention", "Segment", "causal_mask"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of tokens of the pack."""

    start: int
    length: int
    parent: int | None = None
    """Index of the segment whose tokens it continues."""


@dataclass(slots=True)
class Block:
    """Segments that are attended to in one call."""

    index_BT: Tensor
    """Position in the pack of each padded token; 0 where padded."""
    prefix_P: Tensor | None
    mask_TL: Tensor | None
    """May attend, L = P + T; None for plain causal attention."""


def causal_mask(queries: int, prefix: int) -> Tensor:
    """[T, P + T]: a query sees the whole prefix and its own past."""
    return torch.ones(queries, prefix + queries, dtype=torch.bool).tril(prefix)


class PackedAttention:
    """Attention plan of one pack; call it as the `attend` of `decoder.hidden_states`."""

    def __init__(self, segments: Sequence[Segment], device: torch.device | None = None, *, waste: float = 0.25) -> None:
        """Plan the blocks.

        Args:
            segments: parents before children, together covering the pack once.
            device: where the index tensors live.
            waste: a block may hold this share of padding.
        """
        by_parent: dict[int | None, list[int]] = {}
        for number, segment in enumerate(segments):
            by_parent.setdefault(segment.parent, []).append(number)
        total = sum(segment.length for segment in segments)
        where = torch.empty(total, dtype=torch.long)
        self.blocks: list[Block] = []
        offset = 0
        for parent, children in by_parent.items():
            prefix = _ancestor_positions(segments, parent)
            for rows in _by_length([segments[child] for child in children], waste):
                longest = max(row.length for row in rows)
                index = torch.zeros(len(rows), longest, dtype=torch.long)
                for number, row in enumerate(rows):
                    own = torch.arange(row.length)
                    index[number, : row.length] = row.start + own
                    where[row.start : row.start + row.length] = offset + number * longest + own
                offset += len(rows) * longest
                mask = causal_mask(longest, len(prefix)).to(device) if len(prefix) else None
                self.blocks.append(Block(index.to(device), prefix.to(device) if len(prefix) else None, mask))
        self._where = where.to(device)
        positions = torch.empty(total, dtype=torch.long)
        depth: list[int] = []
        for segment in segments:
            start = 0 if segment.parent is None else depth[segment.parent]
            depth.append(start + segment.length)
            positions[segment.start : segment.start + segment.length] = start + torch.arange(segment.length)
        self.positions = positions.to(device)
        """Position of each token on its own path: depth in the tree, not index in the pack."""
        self.length = max(depth, default=0)

    def __call__(self, layer: int, q_NHE: Tensor, k_NKE: Tensor, v_NKE: Tensor) -> Tensor:
        """Attend within every block; [N, H * E]."""
        repeat = q_NHE.shape[1] // k_NKE.shape[1]
        if repeat > 1:
            k_NKE, v_NKE = k_NKE.repeat_interleave(repeat, 1), v_NKE.repeat_interleave(repeat, 1)
        outputs = []
        for block in self.blocks:
            q, k, v = (_rows(x, block.index_BT) for x in (q_NHE, k_NKE, v_NKE))
            if block.prefix_P is None:
                mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                k, v = (torch.cat([_prefix(x, block.prefix_P, len(q)), own], 2) for x, own in ((k_NKE, k), (v_NKE, v)))
                mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=block.mask_TL)
            outputs.append(mixed.transpose(1, 2).flatten(0, 1))
        return torch.cat(outputs)[self._where].flatten(1)


def _rows(x_NHE: Tensor, index_BT: Tensor) -> Tensor:
    return x_NHE.index_select(0, index_BT.flatten()).view(*index_BT.shape, *x_NHE.shape[1:]).transpose(1, 2)


def _prefix(x_NHE: Tensor, prefix_P: Tensor, rows: int) -> Tensor:
    return x_NHE.index_select(0, prefix_P).transpose(0, 1).unsqueeze(0).expand(rows, -1, -1, -1)


def _ancestor_positions(segments: Sequence[Segment], parent: int | None) -> Tensor:
    spans = []
    while parent is not None:
        spans.append(torch.arange(segments[parent].start, segments[parent].start + segments[parent].length))
        parent = segments[parent].parent
    return torch.cat(spans[::-1]) if spans else torch.empty(0, dtype=torch.long)


def _by_length(rows: Sequence[Segment], waste: float) -> list[list[Segment]]:
    """Split rows into blocks in which at most a share `waste` of the cells is padding."""
    blocks: list[list[Segment]] = []
    total = 0
    for row in sorted(rows, key=lambda row: -row.length):
        if blocks and total + row.length >= (1 - waste) * blocks[-1][0].length * (len(blocks[-1]) + 1):
            blocks[-1].append(row)
            total += row.length
        else:
            blocks.append([row])
            total = row.length
    return blocks
