"""Block attention over a packed forest: every token attends to itself, to what precedes it in its segment, and to the segment's ancestors.

A prompt that eight trajectories share stands in the pack once, and its keys and values serve all eight. Segments of similar length with the
same ancestors form a block, a rectangle with a little padding that is attended to in one call, so the cost is linear in the pack and no [N,
N] mask is made. The gradient equals that of the unpacked sequences; a test compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Block", "PackedAttention", "Segment", "causal_mask"]


Segment = tuple[int, int, int | None]
"""A run of tokens of the pack: its start, its length, and the index of the segment whose tokens it continues."""


@dataclass(slots=True)
class Block:
    """Segments that are attended to in one call: a rectangle of the padded layout."""

    start: int
    """Where it begins in the layout."""
    rows: int
    width: int
    prefix_P: Tensor | None
    """Positions of the ancestors' tokens in the layout."""
    mask_TL: Tensor | None
    """May attend, L = P + T; None for plain causal attention."""


def causal_mask(queries: int, prefix: int) -> Tensor:
    """[T, P + T]: a query sees the whole prefix and its own past."""
    return torch.ones(queries, prefix + queries, dtype=torch.bool).tril(prefix)


class PackedAttention:
    """Layout and attention of one pack; call it as the `attend` of `decoder.hidden_states`.

    The tokens are computed in a padded layout of P >= N places in which every block is a rectangle, so that its queries, keys and values
    are views: `order` says which token of the pack stands in each place (padding repeats a token), `where` in which place each token
    stands.
    """

    def __init__(self, segments: Sequence[Segment], device: torch.device | None = None, *, waste: float = 0.1) -> None:
        """Plan the blocks.

        Args:
            segments: parents before children, together covering the pack once.
            device: where the index tensors live.
            waste: a block may hold this share of padding.
        """
        by_parent, depth = _tree(segments)
        self.length = max(depth, default=0)
        """One more than the largest position."""
        total = sum(length for _, length, _ in segments)
        where = np.empty(total, dtype=np.int64)
        order: list[np.ndarray] = []
        positions: list[np.ndarray] = []
        self.blocks: list[Block] = []
        offset = 0
        # Parents stand before their children in `segments`, so a parent's places are known when its children need them.
        for parent, children in by_parent.items():
            above = 0 if parent is None else depth[parent]
            prefix = torch.from_numpy(where[_ancestors(segments, parent)]).to(device) if parent is not None else None
            for rows in _by_length([segments[child] for child in children], waste):
                width = rows[0][1]
                columns = np.arange(width)
                for number, (start, length, _) in enumerate(rows):
                    where[start : start + length] = offset + number * width + columns[:length]
                    order.append(start + np.minimum(columns, length - 1))
                    positions.append(above + columns)
                mask = causal_mask(width, above).to(device) if parent is not None else None
                self.blocks.append(Block(offset, len(rows), width, prefix, mask))
                offset += len(rows) * width
        self.order = torch.from_numpy(np.concatenate(order)).to(device)
        """[P]"""
        self.positions = torch.from_numpy(np.concatenate(positions)).to(device)
        """[P] position of each token on its own path: depth in the tree, not place in the pack."""
        self.where = torch.from_numpy(where).to(device)
        """[N]"""
        prefixes = [block.prefix_P for block in self.blocks if block.prefix_P is not None]
        self._prefixes = torch.cat(prefixes) if prefixes else self.order[:0]

    def __call__(self, layer: int, q_PHE: Tensor, k_PKE: Tensor, v_PKE: Tensor) -> Tensor:
        """Attend within every block; [P, H * E]."""
        repeat = q_PHE.shape[1] // k_PKE.shape[1]
        if repeat > 1:
            k_PKE, v_PKE = k_PKE.repeat_interleave(repeat, 1), v_PKE.repeat_interleave(repeat, 1)
        sizes = [block.rows * block.width for block in self.blocks]
        lengths = [0 if block.prefix_P is None else len(block.prefix_P) for block in self.blocks]
        # All prefixes at once: the gradient of every gather fills a tensor of the size of the pack.
        prefix_k, prefix_v = (x.index_select(0, self._prefixes).split(lengths) for x in (k_PKE, v_PKE))
        outputs = []
        for number, (block, *parts) in enumerate(zip(self.blocks, q_PHE.split(sizes), k_PKE.split(sizes), v_PKE.split(sizes), strict=True)):
            q, k, v = (part.view(block.rows, block.width, *part.shape[1:]).transpose(1, 2) for part in parts)
            if block.prefix_P is None:
                mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                k, v = (torch.cat([_shared(x[number], block.rows), own], 2) for x, own in ((prefix_k, k), (prefix_v, v)))
                mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=block.mask_TL)
            outputs.append(mixed.transpose(1, 2).reshape(block.rows * block.width, -1))
        return torch.cat(outputs)


def _tree(segments: Sequence[Segment]) -> tuple[dict[int | None, list[int]], list[int]]:
    """The children of every segment, and how many tokens stand on its path up to its end."""
    by_parent: dict[int | None, list[int]] = {}
    depth: list[int] = []
    for number, (_, length, parent) in enumerate(segments):
        by_parent.setdefault(parent, []).append(number)
        depth.append(length + (0 if parent is None else depth[parent]))
    return by_parent, depth


def _shared(x_PHE: Tensor, rows: int) -> Tensor:
    return x_PHE.transpose(0, 1).unsqueeze(0).expand(rows, -1, -1, -1)


def _ancestors(segments: Sequence[Segment], parent: int | None) -> np.ndarray:
    """Positions in the pack of the tokens above a segment, root first."""
    spans: list[np.ndarray] = []
    while parent is not None:
        start, length, parent = segments[parent]
        spans.append(np.arange(start, start + length))
    return np.concatenate(spans[::-1])


def _by_length(rows: Sequence[Segment], waste: float) -> list[list[Segment]]:
    """Split rows, longest first, into blocks in which at most a share `waste` of the cells is padding."""
    blocks: list[list[Segment]] = []
    total = 0
    for row in sorted(rows, key=lambda row: -row[1]):
        if blocks and total + row[1] >= (1 - waste) * blocks[-1][0][1] * (len(blocks[-1]) + 1):
            blocks[-1].append(row)
            total += row[1]
        else:
            blocks.append([row])
            total = row[1]
    return blocks
