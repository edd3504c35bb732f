"""The decoder of `models/decoder.py` for sampling in float32 on a CPU: matrix products by torch, the rest in `cpu_kernels.py`.

It needs no gradients, so nothing is kept but keys and values, which go straight into the cache's rows. Many tokens pass through all layers
in chunks whose intermediates fit a core's second-level cache; a chunk finds the keys of those before it in the cache. Tests compare it
with transformers token by token.

Shapes: N tokens, D hidden size, H query heads, K key-value heads, E head size, L positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from spadework.engines import cpu_kernels
from spadework.engines.kv_cache import KVCache
from spadework.models import cpu_steps
from spadework.models.decoder import DecoderWeights, LayerWeights, Rotary
from spadework.models.threads import in_threads

__all__ = ["CpuForward", "inputs_first", "shares"]

CHUNK = 512
"""Tokens that pass through all layers together."""
WORTH_A_THREAD = 32
"""Tokens that a thread should have: with fewer, reading the matrices takes longer than multiplying by them."""

Integers = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]


class _Span(NamedTuple):
    """New tokens of a sequence: `width` tokens of the chunk from `token` on, at positions from `start` on in a row of the cache."""

    row: int
    start: int
    token: int
    width: int


class CpuForward:
    """A forward pass over the new tokens of cached sequences."""

    def __init__(self, weights: DecoderWeights, rotary: Rotary, cache: KVCache) -> None:
        """Bind weights and cache."""
        self._weights, self._rotary, self._cache = weights, rotary, cache
        ones = torch.ones(weights.num_heads + weights.num_kv_heads, weights.head_dim)
        self._qk_norms = [(ones if layer.qk_norm is None else layer.qk_norm.contiguous()).numpy() for layer in weights.layers]

    def __call__(self, tokens: Integers, rows: Integers, starts: Integers, counts: Integers) -> Tensor:
        """Final hidden states [S, D] of the last new token of each of S sequences, after the last norm.

        Args:
            tokens: the new tokens of all sequences, one after the other.
            rows: of the cache.
            starts: position of each sequence's first new token.
            counts: number of its new tokens.
        """
        cos_LE, sin_LE = (table.numpy() for table in self._rotary.tables(int((starts + counts).max())))
        ends = counts.cumsum()

        def run(parts: Sequence[slice]) -> list[Tensor]:
            hidden = []
            for some in parts:
                first, last = ends[some.start] - counts[some.start], ends[some.stop - 1]
                hidden.append(self._hidden(tokens[first:last], rows[some], starts[some], counts[some], cos_LE, sin_LE))
            return hidden

        return torch.cat(list(chain.from_iterable(in_threads(run, shares(len(rows), len(tokens))))))

    def _hidden(
        self, tokens: Integers, rows: Integers, starts: Integers, counts: Integers, cos_LE: FloatArray, sin_LE: FloatArray
    ) -> Tensor:
        weights = self._weights
        done, outputs = 0, []
        for spans in _chunks(rows.tolist(), starts.tolist(), counts.tolist()):
            chunk = _Chunk(spans, cos_LE, sin_LE)
            x = F.embedding(torch.from_numpy(tokens[done : done + chunk.count]), weights.embedding)
            done += chunk.count
            for index, layer in enumerate(weights.layers):
                mixed = self._attention(index, layer, self._norm(x, layer.input_norm), chunk)
                x = torch.addmm(x if layer.output_bias is None else x + layer.output_bias, mixed, layer.output.t())
                gate_up = torch.mm(self._norm(x, layer.mlp_norm), layer.gate_up.t())
                active = torch.empty(chunk.count, layer.down.shape[1])
                cpu_steps.swiglu(gate_up.numpy(), active.numpy())
                x.addmm_(active, layer.down.t())
            outputs.append(x)
        return self._norm(torch.cat(outputs)[torch.from_numpy(counts.cumsum() - 1)], weights.norm)

    def _norm(self, x_ND: Tensor, weight: Tensor) -> Tensor:
        output = torch.empty_like(x_ND)
        cpu_steps.norm(x_ND.numpy(), weight.numpy(), self._weights.epsilon, output.numpy())
        return output

    def _attention(self, index: int, layer: LayerWeights, x_ND: Tensor, chunk: "_Chunk") -> Tensor:
        """Attention of normed tokens over the cache, before the output matrix: [N, H * E]."""
        weights, cache = self._weights, self._cache
        keys, values = cache.keys[index], cache.values[index]
        raw = torch.mm(x_ND, layer.qkv.t())
        if layer.qkv_bias is not None:
            raw += layer.qkv_bias
        raw_NHE = raw.numpy().reshape(chunk.count, -1, weights.head_dim)
        q = torch.empty(chunk.count, weights.num_heads, weights.head_dim)
        cpu_kernels.place(
            raw_NHE, self._qk_norms[index], layer.qk_norm is not None, weights.epsilon,
            chunk.cos, chunk.sin, chunk.rows, chunk.positions, q.numpy(), keys.numpy(), values.numpy(),
        )  # fmt: skip
        output = torch.empty_like(q)
        if chunk.single:
            origins, shared = cache.origin[chunk.rows], np.minimum(cache.shared[chunk.rows], chunk.positions)
            cached = q.numpy(), keys.numpy(), values.numpy()
            cpu_kernels.attend(*cached, chunk.rows, origins, shared, chunk.positions + 1, output.numpy())
        else:
            for span in chunk.spans:
                tokens = slice(span.token, span.token + span.width)
                self._attend_span(q[tokens], keys[span.row], values[span.row], span.start, output[tokens])
        return output.view(chunk.count, -1)

    def _attend_span(self, q_THE: Tensor, keys_KLE: Tensor, values_KLE: Tensor, start: int, output_THE: Tensor) -> None:
        """Attention of several tokens of one sequence, as matrix products."""
        count, _, size = q_THE.shape
        kv_heads, length = len(keys_KLE), start + count
        # The queries that share a key head stand one block after the other as if they were positions.
        q = q_THE.view(count, kv_heads, -1, size).permute(1, 2, 0, 3).reshape(kv_heads, -1, size)
        scores = torch.bmm(q, keys_KLE[:, :length].transpose(1, 2))
        flat = scores.view(-1, length).numpy()
        cpu_kernels.softmax(flat, count, start, size**-0.5)
        mixed = torch.bmm(scores, values_KLE[:, :length])
        output_THE.view(count, kv_heads, -1, size).copy_(mixed.view(kv_heads, -1, count, size).permute(2, 0, 1, 3))


def shares(sequences: int, tokens: int) -> list[slice]:
    """Sequences for each of torch's threads, equally many; for one thread if there are few tokens in all."""
    count = max(1, min(torch.get_num_threads(), sequences, tokens // WORTH_A_THREAD))
    return [slice(sequences * number // count, sequences * (number + 1) // count) for number in range(count)]


def inputs_first(weights: DecoderWeights) -> DecoderWeights:
    """The same matrices with the other order in memory: products with few tokens take up to a third less time."""

    def turned(matrix: Tensor) -> Tensor:
        return matrix.t().contiguous().t()

    layers = [
        replace(layer, **{name: turned(getattr(layer, name)) for name in ("qkv", "output", "gate_up", "down")}) for layer in weights.layers
    ]
    return replace(weights, layers=layers, head=turned(weights.head))


class _Chunk:
    """Spans that pass through the layers together."""

    def __init__(self, spans: list[_Span], cos_LE: FloatArray, sin_LE: FloatArray) -> None:
        counts = [span.width for span in spans]
        self.spans, self.cos, self.sin = spans, cos_LE, sin_LE
        self.count = sum(counts)
        self.single = self.count == len(spans)
        self.rows = np.repeat([span.row for span in spans], counts)
        self.positions = np.repeat([span.start - span.token for span in spans], counts) + np.arange(self.count)


def _chunks(rows: list[int], starts: list[int], counts: list[int]) -> Iterator[list[_Span]]:
    """Sequences in chunks; one that does not fit goes on in the next."""
    spans: list[_Span] = []
    token = 0
    for row, start, count in zip(rows, starts, counts, strict=True):
        while count:
            part = min(count, CHUNK - token)
            spans.append(_Span(row, start, token, part))
            start, token, count = start + part, token + part, count - part
            if token == CHUNK:
                yield spans
                spans, token = [], 0
    if spans:
        yield spans
