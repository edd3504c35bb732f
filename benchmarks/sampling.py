"""Sampling over several turns: the local engine beside `generate` of transformers.

Eight trajectories of each task, every turn a number of sampled tokens and then an observation of random length: what a rollout does all
day. Same weights, same prompts and observations, same number of sampled tokens, same threads. Every run has new prompts, so nothing is
cached from the run before.
"""

import asyncio
import random
import time
from dataclasses import dataclass

import torch

from benchmarks.models import new_policy, word_tokenizer
from benchmarks.peers.generate import sample_turn
from benchmarks.table import Row, interleave, speed_row
from spadework.engines.engine import Request, SamplingParams
from spadework.engines.local import LocalEngine, LocalEngineConfig
from spadework.models.checkpoint import parameters

__all__ = ["Workload", "conversations", "row"]


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sampled."""

    tasks: int = 8
    samples: int = 8
    sampled: tuple[int, ...] = (16, 24, 16, 24, 16, 24, 16, 24)
    """Tokens of each turn."""
    prompt: int = 40
    """Mean tokens of a task's prompt."""
    observation: int = 60
    """Mean tokens between two turns."""

    @property
    def work(self) -> int:
        """Sampled tokens of a run."""
        return self.tasks * self.samples * sum(self.sampled)


def conversations(load: Workload, vocab_size: int, seed: int) -> tuple[list[list[int]], list[list[list[int]]]]:
    """Prompts and, for every trajectory, its observations; lengths spread by half around their means."""
    rng = random.Random(seed)

    def text(mean: int) -> list[int]:
        return rng.choices(range(2, vocab_size), k=rng.randint(mean // 2, mean + mean // 2))

    prompts = [prompt for prompt in (text(load.prompt) for _ in range(load.tasks)) for _ in range(load.samples)]
    return prompts, [[text(load.observation) for _ in load.sampled[1:]] + [[]] for _ in prompts]


def row(
    preset: str, *, runs: int, device: str = "cpu", dtype: str = "float32", layers: int | None = None, load: Workload | None = None
) -> Row:
    """Measure one model.

    Args:
        preset: name of the model.
        runs: measured pairs.
        device: of both sides.
        dtype: weights of both sides.
        layers: cut the model to this many layers.
        load: what is sampled.
    """
    load = load or Workload()
    model = new_policy(preset, layers=layers).to(device, getattr(torch, dtype))
    vocab_size = model.config.vocab_size
    config = LocalEngineConfig(dtype=dtype, device=device, max_num_seqs=load.tasks * load.samples)
    engine = LocalEngine(model.config, word_tokenizer(vocab_size), config)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(engine.load(parameters(model), 0))

    async def trajectory(tokens: list[int], observations: list[list[int]], turns: tuple[int, ...], seed: int) -> int:
        sampled = 0
        for count, observation in zip(turns, observations, strict=False):
            completion = await engine.generate(Request(tokens, SamplingParams(max_tokens=count), seed))
            sampled += len(completion.token_ids)
            tokens = tokens + completion.token_ids + observation
        return sampled

    # The warm-up, number 0, is a whole run of ours, after which the cache has grown to its size, and one turn of the peer's.
    def ours(number: int) -> float:
        prompts, observations = conversations(load, vocab_size, number)

        async def everything() -> list[int]:
            each = zip(prompts, observations, range(len(prompts)), strict=True)
            return await asyncio.gather(*(trajectory(prompt, between, load.sampled, seed) for prompt, between, seed in each))

        begin = time.perf_counter()
        counts = loop.run_until_complete(everything())
        seconds = time.perf_counter() - begin
        assert counts == [sum(load.sampled)] * len(prompts)
        return seconds

    def peer(number: int) -> float:
        tokens, observations = conversations(load, vocab_size, number)
        begin = time.perf_counter()
        for turn, count in enumerate(load.sampled if number else load.sampled[:1]):
            sampled = sample_turn(model, tokens, count)
            assert all(len(new) == count for new in sampled)
            tokens = [a + b + c[turn] for a, b, c in zip(tokens, sampled, observations, strict=True)]
        return time.perf_counter() - begin

    ours_seconds, peer_seconds = interleave(ours, peer, runs)
    loop.close()
    name = f"sampling_multi_turn/{preset}" if preset != "tiny-1m" else "sampling_multi_turn"
    return speed_row(name, ours_seconds, peer_seconds, peer_name="transformers generate", work=load.work)
