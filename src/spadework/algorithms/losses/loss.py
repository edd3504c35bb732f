"""The loss contract: pure tensor functions over the policy tokens of a packed batch.

All tensors are one-dimensional: N is the number of policy tokens of the micro-batch, whatever sample they come from; prompt and observation
tokens are already gone (invariant 2). `num_tokens` and `num_sequences` count the whole optimiser update, over all micro-batches, so every
loss is a sum divided by a global count and micro-batches simply add up. Averaging within a micro-batch instead weighs tokens by how
they happened to be packed, a mistake that at least six frameworks have made.

An objective (`losses/objective`) has exactly one `Surrogate`, and any number of `Correction`s, which multiply its tokens by constants, and
of `Term`s, which are added to it. `needs` names the columns of `LossInputs` that a part reads beyond those that are always there.

A loss knows neither reward nor agent. Log-probabilities are in nats; the ratio is exp(logprobs - old_logprobs).
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from spadework.core.errors import ConfigError
from spadework.core.registry import Part, Registry

__all__ = [
    "Aggregation",
    "Correction",
    "Loss",
    "LossInputs",
    "LossOutput",
    "Surrogate",
    "Term",
    "aggregate",
    "bounded_exp",
    "diagnostics",
    "losses",
    "per_sequence",
    "register",
]

Aggregation = Literal["token-mean", "seq-mean-token-mean", "constant"]


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What a loss reads. Tensors are [N], over policy tokens, and constant where nothing else is said."""

    logprobs: Tensor
    """Of the policy that is trained; with gradient."""
    old_logprobs: Tensor
    """Of the same tokens under the trainer's weights at the start of the step; a copy of `logprobs` where a step has one update."""
    sampler_logprobs: Tensor
    """As recorded when the tokens were sampled. Diagnostics and corrections compare them with `old_logprobs`."""
    advantages: Tensor
    sequence_ids: Tensor
    """Which sample of the micro-batch a token belongs to: integers from 0. A sample is never split over micro-batches."""
    num_tokens: int
    """Policy tokens of the whole optimiser update."""
    num_sequences: int
    """Samples of the whole optimiser update."""
    weights: Tensor | None = None
    """Factor on each token's loss, constant; None means 1. Weights do not enter the counts."""
    entropies: Tensor | None = None
    """Entropies in nats as recorded by the sampler, for the report."""
    reference_logprobs: Tensor | None = None
    """Of a frozen reference policy."""
    teacher_logprobs: Tensor | None = None
    """Of a teacher."""
    rewards: Tensor | None = None
    """Reward of the trajectory that a token belongs to."""
    entropy: Tensor | None = None
    """Entropy of the trained policy where each token was sampled, in nats; with gradient."""
    entropy_history: float | None = None
    """Mean over the steps so far, this one included, of the mean of `entropies` over a step's tokens."""
    observations: Tensor | None = None
    """[K]: log-probabilities of the observation tokens of the micro-batch under the trained policy; with gradient."""
    num_observations: int = 0
    """Observation tokens of the whole optimiser update."""

    def __post_init__(self) -> None:
        """Refuse columns of unequal length and counts that cannot be those of the step."""
        size = self.logprobs.shape
        for name in self.__slots__:
            column = getattr(self, name)
            if isinstance(column, Tensor) and name != "observations" and (column.dim() != 1 or column.shape != size):
                raise ValueError(f"{name} has shape {tuple(column.shape)}; expected one entry per policy token: {tuple(size)}")
        if self.num_tokens < max(1, len(self.logprobs)) or self.num_sequences < 1:
            raise ValueError(
                f"num_tokens {self.num_tokens} and num_sequences {self.num_sequences} must count the whole step; "
                f"this micro-batch alone has {len(self.logprobs)} tokens"
            )
        if self.observations is not None and self.num_observations < len(self.observations):
            raise ValueError(
                f"num_observations {self.num_observations} must count the whole step; "
                f"this micro-batch alone has {len(self.observations)} observation tokens"
            )


@dataclass(frozen=True, slots=True)
class LossOutput:
    """A scalar loss, and what to report of it."""

    loss: Tensor
    metrics: dict[str, float] = field(default_factory=dict)
    """Contributions under verl's names: added over the micro-batches of a step they give the step's value."""


class Loss(Part):
    """A part of an objective, with options; its defaults are the published setting."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """Optional columns of `LossInputs` that must be supplied."""


losses: Registry[Loss] = Registry("loss", "spadework.algorithms.losses")
"""All registered parts."""
register = losses.register


class Surrogate(Loss):
    """A policy-gradient loss. Alone it is an objective."""

    aggregation: Aggregation = "token-mean"
    """How tokens are averaged (see `aggregate`). PPO and DAPO: token-mean; GRPO: seq-mean-token-mean; Dr.GRPO: constant."""
    length: int | None = Field(default=None, gt=0)
    """Tokens per sample that `constant` divides by: the generation budget. Only allowed there."""

    @model_validator(mode="after")
    def _length_takes_effect(self) -> Self:
        if (self.aggregation == "constant") != (self.length is not None):
            raise ConfigError("loss: 'length' goes with aggregation 'constant', which needs it, and has no effect with any other")
        return self

    @abstractmethod
    def per_token(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """Loss of every token [N], and for which tokens a clip cuts the gradient [N]."""

    def average(self, per_token: Tensor, inputs: LossInputs) -> Tensor:
        """Reduce a [N] loss to the micro-batch's share of the step's loss."""
        return aggregate(per_token, inputs, self.aggregation, self.length)

    def __call__(self, inputs: LossInputs) -> LossOutput:
        """The micro-batch's share of the step's loss, and verl's `actor/*` metrics."""
        per_token, cut = self.per_token(inputs)
        loss = self.average(per_token, inputs)
        metrics = {"actor/pg_loss": float(loss.detach()), "actor/pg_clipfrac": float(cut.sum()) / inputs.num_tokens}
        return LossOutput(loss, metrics | diagnostics(inputs))


class Correction(Loss):
    """A constant factor on every token of the surrogate, from w = exp(old_logprobs - sampler_logprobs): trainer against sampler.

    Tokens whose factor is 0 stay in the counts, as in AReaL and TRL; the metrics say how many they are.
    """

    weighs: ClassVar[bool] = False
    """Whether the factor contains w itself; an objective has at most one such correction."""

    @abstractmethod
    def factors(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """The factors [N], and which of them are cut off or 0 [N]. Called without gradient."""


class Term(Loss):
    """Something that is added to the surrogate, times `coef`."""

    metric: ClassVar[str]
    """Under which name the term is reported, before `coef`."""
    coef: float = Field(gt=0)
    """Factor on the term."""

    @abstractmethod
    def __call__(self, inputs: LossInputs, average: Callable[[Tensor], Tensor]) -> Tensor:
        """The micro-batch's share of the term, a scalar without `coef`.

        Args:
            inputs: without the corrections' factors.
            average: reduces a [N] tensor as the surrogate does.
        """


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


def per_sequence(values: Tensor, inputs: LossInputs, how: Literal["sum", "mean"]) -> Tensor:
    """Sum or mean of [N] values over the policy tokens of a sample, given to each of its tokens: [N].

    Tokens that several samples share stand in one of them only (`trajectories/packing`).
    """
    counts = torch.bincount(inputs.sequence_ids)
    sums = values.new_zeros(len(counts)).index_add(0, inputs.sequence_ids, values)
    return (sums / counts if how == "mean" else sums)[inputs.sequence_ids]


def bounded_exp(exponents: Tensor) -> Tensor:
    """Exp within 20 nats of 0, which is far outside any clip range.

    Unbounded, it overflows, and the gradient of a branch that is not taken becomes 0 * inf = nan.
    """
    return torch.exp(exponents.clamp(-20, 20))


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
