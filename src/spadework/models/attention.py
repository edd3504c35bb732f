"""Block attention over a packed forest: every token attends to itself, to what precedes it in its segment, and to the segment's ancestors.

A prompt that eight trajectories share stands in the pack once, and its keys and values serve all eight. Segments of similar length with the
same ancestors form a block, a rectangle with a little padding that is attended to in one call, so the cost is linear in the pack and no [N,
N] mask is made. The gradient equals that of the unpacked sequences; a test compares them.

In float32 on a CPU a compiled routine (`cpu_attention.py`) reads each prefix once for all its rows and computes nothing that a mask would
hide. Elsewhere, and for head sizes that it does not take, torch's attention gets the prefix copied for each row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from spadework.models import cpu_attention
from spadework.models.cpu_attention import LANES
from spadework.models.threads import in_threads

__all__ = ["Block", "PackedAttention", "Segment", "causal_mask"]


Segment = tuple[int, int, int | None]
"""A run of tokens of the pack: its start, its length, and the index of the segment whose tokens it continues."""

Integers = npt.NDArray[np.int64]
UNIT_ELEMENTS = 1 << 16
"""Elements of the keys of a unit of work: with what belongs to them, they fit the second-level cache or nearly so. Neighbouring heads that
are copied together come from memory in one piece."""
WORTH_A_THREAD = 1 << 20
"""Products of a number of a query and a number of a key that a thread should have; waking it takes as long as some hundred thousand."""


@dataclass(slots=True)
class Block:
    """Segments that are attended to in one call: a rectangle of the padded layout."""

    start: int
    """Where it begins in the layout."""
    rows: int
    width: int
    prefix_P: Tensor | None
    """Positions of the ancestors' tokens in the layout."""
    mask_TL: Tensor | None = None
    """May attend, L = P + T; made when torch's attention first needs it."""


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
                self.blocks.append(Block(offset, len(rows), width, prefix))
                offset += len(rows) * width
        self.order = torch.from_numpy(np.concatenate(order)).to(device)
        """[P]"""
        self.positions = torch.from_numpy(np.concatenate(positions)).to(device)
        """[P] position of each token on its own path: depth in the tree, not place in the pack."""
        self.where = torch.from_numpy(where).to(device)
        """[N]"""
        prefixes = [block.prefix_P for block in self.blocks if block.prefix_P is not None]
        self._prefixes = torch.cat(prefixes) if prefixes else self.order[:0]
        self._table = _table(self.blocks)

    def __call__(self, layer: int, q_PHE: Tensor, k_PKE: Tensor, v_PKE: Tensor) -> Tensor:
        """Attend within every block; [P, H * E]."""
        if q_PHE.device.type == "cpu" and q_PHE.dtype == torch.float32 and q_PHE.shape[2] % LANES == 0:
            return _Compiled.apply(q_PHE, k_PKE, v_PKE, self._table, self._prefixes)
        lengths = self._table[:, 4].tolist()
        repeat = q_PHE.shape[1] // k_PKE.shape[1]
        if repeat > 1:
            k_PKE, v_PKE = k_PKE.repeat_interleave(repeat, 1), v_PKE.repeat_interleave(repeat, 1)
        sizes = [block.rows * block.width for block in self.blocks]
        # All prefixes at once: the gradient of every gather fills a tensor of the size of the pack.
        prefix_k, prefix_v = (x.index_select(0, self._prefixes).split(lengths) for x in (k_PKE, v_PKE))
        outputs = []
        for number, (block, *parts) in enumerate(zip(self.blocks, q_PHE.split(sizes), k_PKE.split(sizes), v_PKE.split(sizes), strict=True)):
            q, k, v = (part.view(block.rows, block.width, *part.shape[1:]).transpose(1, 2) for part in parts)
            if block.prefix_P is None:
                mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                if block.mask_TL is None:
                    block.mask_TL = causal_mask(block.width, lengths[number]).to(q.device)
                k, v = (torch.cat([_shared(x[number], block.rows), own], 2) for x, own in ((prefix_k, k), (prefix_v, v)))
                mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=block.mask_TL)
            outputs.append(mixed.transpose(1, 2).reshape(block.rows * block.width, -1))
        return torch.cat(outputs)


def _table(blocks: Sequence[Block]) -> Integers:
    """[B, 5]: first place, rows, width, and where in all prefixes, one after the other, the block's begins and how long it is."""
    lengths = [0 if block.prefix_P is None else len(block.prefix_P) for block in blocks]
    entries = np.cumsum([0, *lengths[:-1]])
    sizes = [(block.start, block.rows, block.width) for block in blocks]
    return np.column_stack([np.array(sizes, dtype=np.int64), entries, lengths])


class _Compiled(torch.autograd.Function):
    """Attention of all blocks by the compiled routine; the table of blocks is described there."""

    @staticmethod
    def forward(ctx: Any, q_PHE: Tensor, k_PKE: Tensor, v_PKE: Tensor, blocks: Integers, prefixes: Tensor) -> Tensor:
        out, sums_HP = q_PHE.new_empty(q_PHE.shape), q_PHE.new_empty(q_PHE.shape[1], len(q_PHE))
        ctx.save_for_backward(q_PHE, k_PKE, v_PKE, out, sums_HP, prefixes)
        ctx.blocks = blocks
        shape = (q_PHE.shape[1] // k_PKE.shape[1], q_PHE.shape[2])
        shares = _shares(blocks, k_PKE.shape[1], *shape)
        _run(cpu_attention.forward, shares, _views(q_PHE, k_PKE, v_PKE), blocks, prefixes.numpy(), *shape, *_views(out), sums_HP.numpy())
        return out.flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q_PHE, k_PKE, v_PKE, out, sums_HP, prefixes = ctx.saved_tensors
        d_q, d_k, d_v = (x.new_empty(x.shape) for x in (q_PHE, k_PKE, v_PKE))
        d_prefixes = [k_PKE.new_empty(len(prefixes), *k_PKE.shape[1:]) for _ in range(2)]
        shape = (q_PHE.shape[1] // k_PKE.shape[1], q_PHE.shape[2])
        inputs, results = _views(q_PHE, k_PKE, v_PKE), _views(grad.reshape(out.shape), out)
        gradients = _views(d_q, d_k, d_v, *d_prefixes)
        shares = _shares(ctx.blocks, k_PKE.shape[1], *shape)
        _run(cpu_attention.backward, shares, inputs, *results, sums_HP.numpy(), ctx.blocks, prefixes.numpy(), *shape, gradients)
        for total, part in zip((d_k, d_v), d_prefixes, strict=True):
            total.index_add_(0, prefixes, part)
        return d_q, d_k, d_v, None, None


def _views(*tensors: Tensor) -> tuple[tuple[Any, int, int], ...]:
    """Tensors [P, H, E] as flat arrays with the strides of places and heads: to the compiler all are of one type."""
    views = []
    for tensor in tensors:
        x = tensor.detach() if tensor.stride(2) == 1 else tensor.detach().contiguous()
        length = sum((count - 1) * stride for count, stride in zip(x.shape, x.stride(), strict=True)) + 1 if x.numel() else 0
        views.append((x.as_strided((length,), (1,)).numpy(), x.stride(0), x.stride(1)))
    return tuple(views)


def _shares(blocks: Integers, kv_heads: int, groups: int, size: int) -> list[Integers]:
    """Units of work for each thread, [U, 3]: block, first and last key-value head. A block's heads that fit the cache form one."""
    units, costs = [], []
    for block, (_, rows, width, _, above) in enumerate(blocks.tolist()):
        heads = max(1, min(-(-kv_heads // torch.get_num_threads()), UNIT_ELEMENTS // ((above + width) * size)))
        for low in range(0, kv_heads, heads):
            units.append((block, low, min(low + heads, kv_heads)))
            costs.append((units[-1][2] - low) * groups * size * rows * width * (above + width / 2))
    ends = np.cumsum(costs)
    threads = min(torch.get_num_threads(), 1 + int(ends[-1]) // WORTH_A_THREAD)
    thread_of = ((ends - np.array(costs) / 2) / ends[-1] * threads).astype(np.int64)
    return [share for number in range(threads) if len(share := np.array(units)[thread_of == number])]


def _run(kernel: Callable[..., None], shares: list[Integers], *arguments: Any) -> None:
    def run(some: Sequence[Integers]) -> None:
        for share in some:
            kernel(*arguments, share)

    in_threads(run, shares)


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
