"""The local engine: continuous batching over a model in this process, on a CPU or one GPU.

Every step computes new prompt tokens of the sequences that have some (prefill) and one token for each of the others (decode); requests join
and leave between steps. Keys and values stay when a request ends, so the next turn of a trajectory computes only its observation, eight
samples of a prompt prefill it once, and a fork copies its prefix (`kv_cache.py`). Weights are replaced in place: cached keys and values are
void then, requests in flight recompute theirs, and each token records the version that sampled it.

Not here: paged memory and many GPUs; a vLLM server behind the same contract has them.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from spadework.core.config import Config
from spadework.core.errors import InputError
from spadework.engines.cpu_forward import CpuForward, inputs_first, shares
from spadework.engines.engine import Completion, Request, Weights
from spadework.engines.kv_cache import KVCache
from spadework.engines.sampling import Sampled, sample, uniforms
from spadework.engines.stop import StopRule
from spadework.models.decoder import DecoderWeights, Rotary, check_supported, fuse, hidden_states, logits
from spadework.models.threads import in_threads

__all__ = ["LocalEngine", "LocalEngineConfig"]


class LocalEngineConfig(Config):
    """How the local engine runs."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute type. On a CPU small matrices are faster in float32."""
    kv_cache_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of cached keys and values. auto: the compute type. bfloat16 halves what a decode step reads."""
    max_num_seqs: int = Field(default=256, gt=0)
    """Rows of the cache: sequences that are computed or kept for their next turn."""
    max_model_len: int | None = None
    """Longest sequence; the model's own window if not given."""
    max_num_batched_tokens: int = Field(default=8192, gt=0)
    """Prompt tokens computed in one step."""
    device: str = "cpu"
    """cpu or cuda."""


@dataclass(slots=True)
class _Sequence:
    """A running request."""

    request: Request
    future: "asyncio.Future[Completion]"
    row: int
    limit: int
    prompt: int
    stop: StopRule
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)


class LocalEngine:
    """Samples from a decoder in this process. Implements `Engine`."""

    def __init__(self, model_config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, config: LocalEngineConfig | None = None) -> None:
        """Prepare an engine without weights; `load` brings them.

        Raises:
            InputError: the architecture is not supported.
        """
        check_supported(model_config)
        self.config = config or LocalEngineConfig()
        self.version = -1
        """Version of the weights; -1 before the first `load`."""
        self.stats = {"prompt_tokens": 0, "cached_tokens": 0, "sampled_tokens": 0, "steps": 0}
        self._model_config = model_config
        self._tokenizer = tokenizer
        self._window = min(model_config.max_position_embeddings, self.config.max_model_len or model_config.max_position_embeddings)
        self._device = torch.device(self.config.device)
        self._dtype = getattr(torch, self.config.dtype)
        self._rotary = Rotary(model_config, self._device, self._dtype)
        self._weights: DecoderWeights
        self._cache: KVCache
        self._cpu_forward: CpuForward | None = None
        self._loaded = False
        self._waiting: set[asyncio.Future[Completion]] = set()
        """Of all requests that have no completion yet."""
        self._queue: deque[tuple[Request, asyncio.Future[Completion]]] = deque()
        self._running: list[_Sequence] = []
        self._task: asyncio.Task[None] | None = None
        self._stops: dict[tuple[tuple[str, ...], tuple[int, ...]], StopRule] = {}

    async def load(self, weights: Weights, version: int) -> None:
        """Replace the weights; see `Engine.load`."""
        with torch.inference_mode():
            # A copy: a trainer goes on writing into its own parameters.
            on_device = {name: tensor.detach().to(self._device, self._dtype, copy=True) for name, tensor in weights.items()}
            self._weights = fuse(self._model_config, on_device, self._dtype)
        self.version = version
        if not self._loaded:
            kind = self.config.kv_cache_dtype
            cache_dtype = self._dtype if kind == "auto" else getattr(torch, kind)
            self._cache = KVCache(
                self._model_config.num_hidden_layers,
                self._weights.num_kv_heads,
                self._weights.head_dim,
                self.config.max_num_seqs,
                dtype=cache_dtype,
                device=self._device,
            )
            self._loaded = True
        self._cache.forget()
        if self._device.type == "cpu" and self._dtype == self._cache.keys[0].dtype == torch.float32:
            self._weights = inputs_first(self._weights)
            self._cpu_forward = CpuForward(self._weights, self._rotary, self._cache)

    async def generate(self, request: Request) -> Completion:
        """Continue a request; see `Engine.generate`."""
        if not self._loaded:
            raise InputError("the engine has no weights yet; call load first")
        if not request.token_ids:
            raise InputError(f"{request.label or 'request'}: no tokens to continue")
        if len(request.token_ids) >= self._window:
            return Completion([], [], [], "context")
        if request.params.max_tokens <= 0:
            return Completion([], [], [], "length")
        # Built here, so that a rule that can not be built fails its own request and no other.
        self._stop_rule(request)
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._abandon()
            self._task = loop.create_task(self._run())
        future: asyncio.Future[Completion] = loop.create_future()
        self._queue.append((request, future))
        self._waiting.add(future)
        try:
            return await future
        finally:
            self._waiting.discard(future)

    def _abandon(self) -> None:
        """Free what an event loop that ended (Ctrl-C, an error) left running."""
        for sequence in self._running:
            self._cache.release(sequence.row)
        self._running.clear()
        self._queue.clear()
        self._waiting.clear()

    async def _run(self) -> None:
        try:
            while self._queue or self._running:
                with torch.inference_mode():
                    self._step()
                await asyncio.sleep(0)
        except BaseException as error:
            for future in list(self._waiting):
                if not future.done():
                    future.set_exception(error)
            self._abandon()
            if not isinstance(error, Exception):
                raise

    def _step(self) -> None:
        self.stats["steps"] += 1
        for sequence in [s for s in self._running if s.future.cancelled()]:
            self._cache.release(sequence.row)
            self._running.remove(sequence)
        self._admit()
        cache = self._cache
        waiting = [s for s in self._running if cache.assigned[s.row] - cache.valid[s.row] > 1]
        # A prefill pays its overhead best when several sequences share it; it may wait while most others can decode.
        if waiting and (len(waiting) * 8 >= len(self._running)):
            self._prefill(waiting)
        ready = [s for s in self._running if cache.assigned[s.row] - cache.valid[s.row] == 1]
        if ready:
            self._decode(ready)

    def _admit(self) -> None:
        deferred: list[tuple[Request, asyncio.Future[Completion]]] = []
        cache = self._cache
        while self._queue:
            request, future = self._queue.popleft()
            if future.cancelled():
                continue
            tokens = np.asarray(request.token_ids, dtype=np.int64)
            cache.reserve(min(self._window, len(tokens) + request.params.max_tokens))
            # The last token is always computed: its hidden state gives the first sample.
            source, prefix, promised = cache.match(tokens[:-1])
            if promised > prefix + 8:
                deferred.append((request, future))
                continue
            if source >= 0 and not cache.busy[source] and prefix == cache.valid[source]:
                row: int | None = source
            else:
                row = cache.take(keep=source)
                if row is None and source >= 0 and not cache.busy[source]:
                    # No other row is free, so the prefix stays where it is and the rest of the row is given up.
                    row = source
            if row is None:
                self._queue.appendleft((request, future))
                break
            cache.start(row, tokens, source, prefix)
            self.stats["cached_tokens"] += prefix
            self.stats["prompt_tokens"] += len(tokens)
            limit = min(self._window, len(tokens) + request.params.max_tokens)
            self._running.append(_Sequence(request, future, row, limit, len(tokens), self._stop_rule(request)))
        self._queue.extendleft(reversed(deferred))

    def _stop_rule(self, request: Request) -> StopRule:
        key = (request.params.stop, request.params.stop_token_ids)
        if key not in self._stops:
            self._stops[key] = StopRule(self._tokenizer, *key)
        return self._stops[key]

    def _prefill(self, sequences: Sequence[_Sequence]) -> None:
        cache = self._cache
        batch: list[_Sequence] = []
        count = 0
        for sequence in sequences:
            pending = int(cache.assigned[sequence.row] - cache.valid[sequence.row])
            if batch and count + pending > self.config.max_num_batched_tokens:
                break
            batch.append(sequence)
            count += pending
        batch.sort(key=lambda s: s.row)
        rows = np.array([s.row for s in batch])
        starts, ends = cache.valid[rows], cache.assigned[rows]
        lengths = ends - starts
        flat_rows = np.repeat(rows, lengths)
        flat_positions = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
        tokens = cache.tokens[flat_rows, flat_positions]
        if self._cpu_forward is not None:
            hidden = self._cpu_forward(tokens, rows, starts, lengths)
        else:
            attend = _Prefill(cache, rows, starts, ends, self._put(flat_rows), self._put(flat_positions))
            hidden = self._forward(tokens, flat_positions, attend)[self._put(lengths.cumsum() - 1)]
        cache.valid[rows] = ends
        self._sample(batch, hidden)

    def _decode(self, sequences: list[_Sequence]) -> None:
        cache = self._cache
        sequences = sorted(sequences, key=lambda s: s.row)
        rows = np.array([s.row for s in sequences])
        positions = cache.valid[rows]
        tokens = cache.tokens[rows, positions]
        if self._cpu_forward is not None:
            hidden = self._cpu_forward(tokens, rows, positions, np.ones_like(rows))
        else:
            hidden = self._forward(tokens, positions, _Decode(cache, rows, positions, self._put(rows), self._put(positions)))
        cache.valid[rows] += 1
        self._sample(sequences, hidden)

    def _forward(self, tokens: npt.NDArray[np.int64], positions: npt.NDArray[np.int64], attend: "_Prefill | _Decode") -> Tensor:
        rotation = self._rotary.at(self._put(positions), int(positions.max()) + 1)
        return hidden_states(self._weights, self._put(tokens), rotation, attend)

    def _put(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _sample(self, sequences: Sequence[_Sequence], hidden: Tensor) -> None:
        cache = self._cache
        rows = np.array([s.row for s in sequences])
        lengths = cache.assigned[rows]
        seeds = np.array([s.request.seed for s in sequences], dtype=np.uint64)
        produced = lengths - np.array([s.prompt for s in sequences])
        numbers = uniforms(seeds, produced.astype(np.uint64))
        params = [s.request.params for s in sequences]

        def run(parts: Sequence[slice]) -> list[Sampled]:
            return [sample(logits(self._weights, hidden[some]), params[some], numbers[some]) for some in parts]

        parts = shares(len(sequences), len(sequences)) if self._device.type == "cpu" else [slice(None)]
        columns = zip(*chain.from_iterable(in_threads(run, parts)), strict=True)
        tokens, logprobs, entropies = (torch.cat(column).cpu().numpy() for column in columns)
        cache.tokens[rows, lengths] = tokens
        cache.assigned[rows] += 1
        self.stats["sampled_tokens"] += len(sequences)
        finished = False
        for sequence, token, logprob, entropy, length in zip(
            sequences, tokens.tolist(), logprobs.tolist(), entropies.tolist(), (lengths + 1).tolist(), strict=True
        ):
            sequence.logprobs.append(logprob)
            sequence.entropies.append(entropy)
            sequence.versions.append(self.version)
            # Embeddings may be padded beyond the tokenizer's vocabulary.
            may_end = token < len(sequence.stop.may_end) and sequence.stop.may_end[token]
            if may_end and sequence.stop.ends(cache.tokens[sequence.row, sequence.prompt : length]):
                finished |= self._finish(sequence, "stop")
            elif length >= sequence.limit:
                finished |= self._finish(sequence, "context" if length >= self._window else "length")
        if finished:
            self._running = [s for s in self._running if not s.future.done()]

    def _finish(self, sequence: _Sequence, reason: str) -> bool:
        self._cache.release(sequence.row)
        tokens = self._cache.tokens[sequence.row, sequence.prompt : self._cache.assigned[sequence.row]].tolist()
        # The last sampled token has no keys and values yet: the row keeps what is computed.
        self._cache.assigned[sequence.row] = self._cache.valid[sequence.row]
        if not sequence.future.done():
            sequence.future.set_result(Completion(tokens, sequence.logprobs, sequence.entropies, reason, sequence.versions))
        return True


class _Decode:
    """Attention of one new token per row."""

    def __init__(
        self, cache: KVCache, rows: npt.NDArray[np.int64], positions: npt.NDArray[np.int64], rows_B: Tensor, positions_B: Tensor
    ) -> None:
        self._cache, self._rows, self._positions = cache, rows_B, positions_B
        self._length = int(positions.max()) + 1
        first, last = int(rows[0]), int(rows[-1]) + 1
        # Rows in between are read too when few are idle: a view is cheaper than a copy of the active ones.
        self._view = slice(first, last) if len(rows) >= 0.6 * (last - first) else None
        self._inside = rows_B - first if self._view is not None and len(rows) < last - first else None
        valid = np.arange(self._length) <= positions[:, None]
        if self._inside is not None:
            every = np.zeros((last - first, self._length), dtype=bool)
            every[:, 0] = True
            every[rows - first] = valid
            valid = every
        kind = cache.keys[0].dtype
        self._bias = (
            torch.zeros(valid.shape, dtype=kind).masked_fill_(torch.from_numpy(~valid), float("-inf"))[:, None, None].to(rows_B.device)
        )

    def __call__(self, layer: int, q_NHE: Tensor, k_NKE: Tensor, v_NKE: Tensor) -> Tensor:
        cache = self._cache
        cache.write(layer, self._rows, self._positions, k_NKE, v_NKE)
        keys, values = (part[layer][:, :, : self._length] for part in (cache.keys, cache.values))
        kv_heads, size = k_NKE.shape[1:]
        # The queries that share a key head stand side by side as if they were positions.
        q = q_NHE.reshape(len(q_NHE), kv_heads, -1, size).to(keys.dtype)
        if self._view is None:
            keys, values = keys.index_select(0, self._rows), values.index_select(0, self._rows)
        else:
            keys, values = keys[self._view], values[self._view]
            if self._inside is not None:
                q = q.new_zeros(len(keys), *q.shape[1:]).index_copy_(0, self._inside, q)
        mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=self._bias)
        if self._inside is not None:
            mixed = mixed.index_select(0, self._inside)
        return mixed.reshape(len(q_NHE), -1).to(q_NHE.dtype)


class _Part(NamedTuple):
    """Rows of a prefill that are attended to in one call: R rows, W new tokens at most."""

    rows: slice | Tensor
    tokens: slice
    """Where their new tokens stand among the step's."""
    cells: Tensor | None
    """Where those stand in the rectangle [R * W]; None for a single row."""
    shape: tuple[int, int]
    length: int
    bias: Tensor


class _Prefill:
    """Attention of several new tokens per row: row by row where a call is cheap, else as one rectangle, padded to the longest."""

    def __init__(
        self,
        cache: KVCache,
        rows: npt.NDArray[np.int64],
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        rows_N: Tensor,
        positions_N: Tensor,
    ) -> None:
        self._cache, self._rows, self._positions = cache, rows_N, positions_N
        bounds = np.concatenate([[0], (ends - starts).cumsum()])
        step = 1 if rows_N.device.type == "cpu" else len(rows)
        self._parts = []
        for first in range(0, len(rows), step):
            some = slice(first, first + step)
            self._parts.append(self._part(rows[some], starts[some], ends[some], slice(bounds[first], bounds[first + step])))

    def _part(self, rows: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], tokens: slice) -> _Part:
        device, lengths, length = self._rows.device, ends - starts, int(ends.max())
        width = int(lengths.max())
        columns = np.arange(width)
        cells = None if len(rows) == 1 else torch.from_numpy(np.flatnonzero(columns < lengths[:, None])).to(device)
        hidden = torch.from_numpy(np.arange(length) > (starts[:, None] + columns)[:, :, None])[:, None].to(device)
        bias = torch.zeros(hidden.shape, dtype=self._cache.keys[0].dtype, device=device).masked_fill_(hidden, float("-inf"))
        # Neighbours are read where they stand.
        neighbours = int(rows[-1] - rows[0]) + 1 == len(rows)
        source = slice(rows[0], rows[-1] + 1) if neighbours else torch.from_numpy(rows).to(device)
        return _Part(source, tokens, cells, (len(rows), width), length, bias)

    def __call__(self, layer: int, q_NHE: Tensor, k_NKE: Tensor, v_NKE: Tensor) -> Tensor:
        cache = self._cache
        cache.write(layer, self._rows, self._positions, k_NKE, v_NKE)
        (num_heads, size), kv_heads = q_NHE.shape[1:], k_NKE.shape[1]
        groups = num_heads // kv_heads
        output = q_NHE.new_empty(len(q_NHE), num_heads * size)
        for part in self._parts:
            keys, values = (some[layer][part.rows, :, : part.length] for some in (cache.keys, cache.values))
            q = q_NHE[part.tokens].to(keys.dtype)
            if part.cells is not None:
                q = q.new_zeros(part.shape[0] * part.shape[1], num_heads, size).index_copy_(0, part.cells, q)
            # The queries that share a key head stand one block after the other as if they were positions.
            q = q.view(*part.shape, kv_heads, groups, size).permute(0, 2, 3, 1, 4).flatten(2, 3)
            bias = part.bias if groups == 1 else part.bias.repeat(1, 1, groups, 1)
            mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=bias)
            mixed = mixed.unflatten(2, (groups, -1)).permute(0, 3, 1, 2, 4).reshape(-1, num_heads * size)
            output[part.tokens] = mixed if part.cells is None else mixed.index_select(0, part.cells)
        return output
