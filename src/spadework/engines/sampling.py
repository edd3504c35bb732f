"""Sampling for a batch: one uniform number per token, from a hash of (request seed, position).

A request's randomness depends on nothing but its own seed and how many tokens it has, so its sample is the same whatever else is in the
batch. The token is drawn by inverting the cumulative distribution: one uniform per token suffices, and no generator state is kept.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spadework.engines import cpu_kernels
from spadework.engines.engine import SamplingParams

__all__ = ["Sampled", "sample", "uniforms"]

Sampled = tuple[Tensor, Tensor, Tensor]
"""Token ids, log-probabilities and entropies, [B] each."""


def uniforms(seeds_B: npt.NDArray[np.uint64], positions_B: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1) from two rounds of the splitmix64 finaliser (Steele et al. 2014) over seed and position.

    Args:
        seeds_B: uint64.
        positions_B: uint64, index of the token that is drawn.
    """
    with np.errstate(over="ignore"):
        x = seeds_B + positions_B * np.uint64(0x9E3779B97F4A7C15)
        for _ in range(2):
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample(logits_BV: Tensor, params: Sequence[SamplingParams], uniform_B: npt.NDArray[np.float64]) -> Sampled:
    """Draw one token per row.

    Log-probabilities and entropies are those of the whole distribution at the row's temperature (at temperature 0 as at 1), before top-k
    and top-p, because that is what a trainer recomputes.

    Args:
        logits_BV: float32.
        params: of each row.
        uniform_B: one number in [0, 1) per row.
    """
    if logits_BV.device.type != "cpu":
        return _sample(logits_BV, params, uniform_B)
    sampled = _draw(logits_BV, params, uniform_B)
    truncated = [row for row, p in enumerate(params) if p.top_k or p.top_p < 1.0]
    if truncated:
        some = _sample(logits_BV[truncated], [params[row] for row in truncated], uniform_B[truncated])
        for column, part in zip(sampled, some, strict=True):
            column[truncated] = part
    return sampled


def _draw(logits_BV: Tensor, params: Sequence[SamplingParams], uniform_B: npt.NDArray[np.float64]) -> Sampled:
    """On a CPU, without top-k and top-p."""
    count, temperatures = len(params), np.array([p.temperature for p in params])
    token_B, logprob_B, entropy_B = torch.empty(count, dtype=torch.int64), torch.empty(count), torch.empty(count)
    cpu_kernels.draw(logits_BV.numpy(), temperatures, uniform_B, token_B.numpy(), logprob_B.numpy(), entropy_B.numpy())
    return token_B, logprob_B, entropy_B


def _sample(logits_BV: Tensor, params: Sequence[SamplingParams], uniform_B: npt.NDArray[np.float64]) -> Sampled:
    """With the operations of torch."""
    temperatures = [p.temperature for p in params]
    if any(t not in (0.0, 1.0) for t in temperatures):
        logits_BV = logits_BV / torch.tensor([t or 1.0 for t in temperatures], device=logits_BV.device)[:, None]
    logprobs_BV = logits_BV.log_softmax(-1)
    probs_BV = logprobs_BV.exp()
    entropy_B = -(probs_BV * logprobs_BV.clamp(min=-1e4)).sum(-1)
    if all(t == 0.0 for t in temperatures):
        token_B = logprobs_BV.argmax(-1)
    else:
        if any(p.top_k or p.top_p < 1.0 for p in params):
            probs_BV = _truncate(probs_BV, params)
        cumulative_BV = probs_BV.cumsum(-1)
        # Rounded to float32 a number close to 1 becomes 1, which would select the last token whether or not it may be sampled.
        uniform = torch.from_numpy(uniform_B).to(cumulative_BV).clamp(max=1 - 2**-24)
        target_B1 = uniform[:, None] * cumulative_BV[:, -1:]
        token_B = torch.searchsorted(cumulative_BV, target_B1, right=True)[:, 0].clamp(max=logits_BV.shape[-1] - 1)
        if any(t == 0.0 for t in temperatures):
            greedy_B = torch.tensor([t == 0.0 for t in temperatures], device=token_B.device)
            token_B = torch.where(greedy_B, logprobs_BV.argmax(-1), token_B)
    return token_B, logprobs_BV.gather(1, token_B[:, None])[:, 0], entropy_B


def _truncate(probs_BV: Tensor, params: Sequence[SamplingParams]) -> Tensor:
    """Zero what top-k and top-p leave out; the best token always stays."""
    sorted_BV, order_BV = probs_BV.sort(-1, descending=True)
    vocabulary = probs_BV.shape[-1]
    top_k_B1 = torch.tensor([p.top_k or vocabulary for p in params], device=probs_BV.device)[:, None]
    # Cumulative probabilities may exceed 1 by rounding: 1 must mean all, or a row would depend on its neighbours' settings.
    top_p_B1 = torch.tensor([p.top_p if p.top_p < 1.0 else math.inf for p in params], device=probs_BV.device)[:, None]
    before_BV = sorted_BV.cumsum(-1) - sorted_BV
    drop_BV = (torch.arange(vocabulary, device=probs_BV.device) >= top_k_B1) | (before_BV >= top_p_B1)
    drop_BV[:, 0] = False
    return probs_BV.masked_fill(torch.zeros_like(drop_BV).scatter(1, order_BV, drop_BV), 0.0)
