"""Parity: what is fast must also be right. The local engine against a plain forward pass of transformers over the finished sequences.

`greedy_parity` is the share of greedy tokens that equal the recomputation, `logprob_parity` the largest difference of a sampled token's
log-probability in float32. Both go over several turns, so cached keys and values, shared prompts and continued rows are all in play.
"""

import asyncio

import torch
from transformers import PreTrainedModel

from benchmarks.models import new_policy, word_tokenizer
from benchmarks.sampling import Workload, conversations
from benchmarks.table import Row
from spadework.engines.engine import Request, SamplingParams
from spadework.engines.local import LocalEngine, LocalEngineConfig
from spadework.models.checkpoint import parameters

__all__ = ["BOUND", "rows"]

BOUND = 1e-4
"""Largest difference of log-probabilities that counts as equal, in nats."""


def _sampled(
    model: PreTrainedModel, temperature: float, load: Workload, device: str, dtype: str
) -> list[tuple[list[int], list[int], list[float]]]:
    """Of every trajectory its tokens, the indices of the sampled ones and their log-probabilities."""
    engine = LocalEngine(model.config, word_tokenizer(model.config.vocab_size), LocalEngineConfig(device=device, dtype=dtype))
    prompts, observations = conversations(load, model.config.vocab_size, seed=0)

    async def trajectory(tokens: list[int], between: list[list[int]], seed: int) -> tuple[list[int], list[int], list[float]]:
        places: list[int] = []
        logprobs: list[float] = []
        for count, observation in zip(load.sampled, between, strict=True):
            params = SamplingParams(max_tokens=count, temperature=temperature)
            completion = await engine.generate(Request(tokens, params, seed))
            places += range(len(tokens), len(tokens) + count)
            logprobs += completion.logprobs
            tokens = tokens + completion.token_ids + observation
        return tokens, places, logprobs

    async def everything() -> list[tuple[list[int], list[int], list[float]]]:
        await engine.load(parameters(model), 0)
        return await asyncio.gather(*map(trajectory, prompts, observations, range(len(prompts))))

    return asyncio.run(everything())


@torch.inference_mode()
def _recomputed(model: PreTrainedModel, tokens: list[int]) -> torch.Tensor:
    return model(torch.tensor([tokens], device=model.device)).logits[0].float().log_softmax(-1).cpu()


def rows(preset: str, *, device: str = "cpu", dtype: str = "float32", layers: int | None = None, load: Workload | None = None) -> list[Row]:
    """Both parity rows of one model.

    Args:
        preset: name of the model.
        device: of both sides.
        dtype: of both sides; the bound is meant for float32.
        layers: cut the model to this many layers.
        load: what is sampled.
    """
    load = load or Workload(tasks=4, samples=2)
    model = new_policy(preset, layers=layers).to(device, getattr(torch, dtype))
    equal = 0
    for tokens, places, _ in _sampled(model, 0.0, load, device, dtype):
        best = _recomputed(model, tokens).argmax(-1)
        equal += sum(tokens[place] == int(best[place - 1]) for place in places)
    worst = 0.0
    for tokens, places, logprobs in _sampled(model, 1.0, load, device, dtype):
        expected = _recomputed(model, tokens)
        worst = max(worst, max(abs(mine - float(expected[place - 1, tokens[place]])) for place, mine in zip(places, logprobs, strict=True)))
    peer = "transformers forward"
    return [
        Row("greedy_parity", equal / load.work, 1.0, equal / load.work, "equal tokens", load.work, peer),
        Row("logprob_parity", worst, BOUND, round(BOUND / max(worst, 1e-9), 2), "nats (peer: bound)", load.work, peer),
    ]
