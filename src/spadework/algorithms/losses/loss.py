"""The loss contract: pure tensor functions over the policy tokens of a packed batch.

All tensors are one-dimensional: N is the number of policy tokens of the micro-batch, whatever sample they come from; prompt and observation
tokens are already gone (invariant 2). `num_tokens` and `num_sequences` count the whole optimiser step, over all micro-batches and ranks, so
every loss is a sum divided by a global count and micro-batches simply add up. Averaging within a micro-batch instead weighs tokens by how
they happened to be packed, a mistake that at least six frameworks have made.

A loss knows neither reward nor agent. Log-probabilities are in nats; the ratio is exp(logprobs - old_logprobs).
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from spadework.core.config import Config
from spadework.core.registry import Registry

__all__ = ["Aggregation", "Loss", "LossInputs", "LossOutput", "aggregate", "diagnostics", "losses", "register"]

Aggregation = Literal["token-mean", "seq-mean-token-mean", "constant"]


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What a loss reads. Every tensor is [N], over policy tokens; only `logprobs` carries gradient."""

    logprobs: Tensor
    """Of the policy that is trained."""
    old_logprobs: Tensor
    """Of the same tokens under the trainer's weights at the start of the step; a copy of `logprobs` where a step has one update."""
    sampler_logprobs: Tensor
    """As recorded when the tokens were sampled. Only diagnostics compare them unless a loss says otherwise."""
    advantages: Tensor
    sequence_ids: Tensor
    """Which sample of the micro-batch a token belongs to: integers from 0. A sample is never split over micro-batches."""
    num_tokens: int
    """Policy tokens of the whole step."""
    num_sequences: int
    """Samples of the whole step."""
    weights: Tensor | None = None
    """Factor on each token's loss, constant; None means 1. Weights do not enter the counts."""
    entropies: Tensor | None = None
    """Entropies in nats, for the report."""

    def __post_init__(self) -> None:
        """Refuse columns of unequal length and counts that cannot be those of the step."""
        size = self.logprobs.shape
        for name in ("logprobs", "old_logprobs", "sampler_logprobs", "advantages", "sequence_ids", "weights", "entropies"):
            column = getattr(self, name)
            if column is not None and (column.dim() != 1 or column.shape != size):
                raise ValueError(f"{name} has shape {tuple(column.shape)}; expected one entry per policy token: {tuple(size)}")
        if self.num_tokens < max(1, len(self.logprobs)) or self.num_sequences < 1:
            raise ValueError(
                f"num_tokens {self.num_tokens} and num_sequences {self.num_sequences} must count the whole step; "
                f"this micro-batch alone has {len(self.logprobs)} tokens"
            )


@dataclass(frozen=True, slots=True)
class LossOutput:
    """A scalar loss, and what to report of it."""

    loss: Tensor
    metrics: dict[str, float] = field(default_factory=dict)
    """Contributions under verl's names: added over the micro-batches of a step they give the step's value."""


class Loss(Config):
    """A loss with options; its defaults are the published setting."""

    @abstractmethod
    def __call__(self, inputs: LossInputs) -> LossOutput:
        """The micro-batch's share of the step's loss."""


losses: Registry[Loss] = Registry("loss", "spadework.algorithms.losses")
"""All registered losses."""
register = losses.register


def aggregate(per_token: Tensor, inputs: LossInputs, how: Aggregation, length: int | None = None) -> Tensor:
    """Reduce a [N] loss to the micro-batch's share of the step's loss.

    Args:
        per_token: loss of every token, [N].
        inputs: for the counts, the samples and the weights.
        how: `token-mean`: every token of the step weighs the same (DAPO). `seq-mean-token-mean`: every sample weighs the same, its tokens
            share that (GRPO). `constant`: divide by `num_sequences * length`, so that a token weighs the same in every step (Dr.GRPO).
        length: the constant of `constant`.
    """
    weighted = per_token if inputs.weights is None else per_token * inputs.weights
    if how == "token-mean":
        return weighted.sum() / inputs.num_tokens
    if how == "constant":
        if length is None:
            raise ValueError("aggregation 'constant' needs a length")
        return weighted.sum() / (inputs.num_sequences * length)
    counts = torch.bincount(inputs.sequence_ids)
    return (weighted / counts[inputs.sequence_ids]).sum() / inputs.num_sequences


@torch.no_grad()
def diagnostics(inputs: LossInputs) -> dict[str, float]:
    """Contributions that every loss reports (see `LossOutput.metrics`), as means over the step's tokens.

    `actor/ppo_kl`: how far the update has moved, mean of old - new. `rollout_corr/kl`: mean of sampler - old, and `rollout_corr/k3_kl`, its
    estimator of low variance that is never negative: trainer and sampler disagree when these grow (invariant 3). `actor/entropy`.
    """
    drift = inputs.old_logprobs - inputs.sampler_logprobs
    sums = {
        "actor/ppo_kl": inputs.old_logprobs - inputs.logprobs,
        "rollout_corr/kl": -drift,
        "rollout_corr/k3_kl": torch.expm1(drift.clamp(-20, 20)) - drift.clamp(-20, 20),
    }
    if inputs.entropies is not None:
        sums["actor/entropy"] = inputs.entropies
    return {name: float(values.sum()) / inputs.num_tokens for name, values in sums.items()}
