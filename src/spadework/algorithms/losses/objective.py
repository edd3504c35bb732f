"""The objective of a run: one surrogate, times corrections, plus terms; from a recipe's `loss: {name: {options}}`.

    loss = average(surrogate * product of factors) + sum of coef * term

Factors are constants. They act on the surrogate alone: a penalty says where the policy may go, whoever sampled the token. The order in
which the parts stand does not matter. What cannot take effect, or would count twice, is an error when the recipe is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from spadework.algorithms.losses.loss import Correction, Loss, LossInputs, LossOutput, Surrogate, Term, losses
from spadework.core.errors import ConfigError

__all__ = ["Objective", "build_objective"]


@dataclass(frozen=True)
class Objective:
    """A callable LossInputs -> LossOutput. `build_objective` makes one from plain values."""

    surrogate: Surrogate
    corrections: Mapping[str, Correction]
    """By name."""
    terms: Mapping[str, Term]
    """By name."""

    @cached_property
    def needs(self) -> frozenset[str]:
        """Optional columns of `LossInputs` that the learner must supply."""
        return self.surrogate.needs.union(*(part.needs for part in (*self.corrections.values(), *self.terms.values())))

    def __call__(self, inputs: LossInputs) -> LossOutput:
        """The micro-batch's share of the step's loss.

        The metrics are the surrogate's, and `rollout_corr/NAME_mean` and `rollout_corr/NAME_cut` of every correction (mean of the
        factors, share of tokens that are capped or dropped), every term under its own name and without its coefficient, and `actor/loss`.

        Raises:
            ValueError: a column that a part needs is missing.
        """
        for name in sorted(self.needs):
            if getattr(inputs, name) is None:
                raise ValueError(f"the objective needs {name}, which the learner did not supply")
        metrics: dict[str, float] = {}
        output = self.surrogate(self._corrected(inputs, metrics))
        loss = output.loss
        for term in self.terms.values():
            share = term(inputs, lambda per_token: self.surrogate.average(per_token, inputs))
            loss = loss + term.coef * share
            metrics[term.metric] = float(share.detach())
        return LossOutput(loss, output.metrics | metrics | {"actor/loss": float(loss.detach())})

    @torch.no_grad()
    def _corrected(self, inputs: LossInputs, metrics: dict[str, float]) -> LossInputs:
        """The inputs with the factors in their weights; what they do goes into the metrics."""
        weights = inputs.weights
        for name, correction in self.corrections.items():
            factors, cut = correction.factors(inputs)
            weights = factors if weights is None else weights * factors
            metrics[f"rollout_corr/{name}_mean"] = float(factors.sum()) / inputs.num_tokens
            metrics[f"rollout_corr/{name}_cut"] = float(cut.sum()) / inputs.num_tokens
        return replace(inputs, weights=weights)


def build_objective(spec: Mapping[str, Mapping[str, Any]], source: str = "loss") -> Objective:
    """Make the objective that a recipe describes.

    Args:
        spec: options by the name of a registered part: exactly one surrogate, any number of corrections and terms.
        source: the key it came from; named in errors.

    Raises:
        ConfigError: no surrogate or several, an unknown name or option, or parts that exclude each other.
    """
    if not isinstance(spec, Mapping):
        raise ConfigError(f"{source}: expected a mapping such as {{ppo-clip: {{}}}}, found {spec!r}")
    parts: dict[str, Loss] = {}
    for name, options in spec.items():
        if not isinstance(options, Mapping):
            raise ConfigError(f"{source}: {name}: expected a mapping of options such as {{}}, found {options!r}")
        parts[name] = losses.build(name, options, source=source)
    surrogates = {name: part for name, part in parts.items() if isinstance(part, Surrogate)}
    corrections = {name: part for name, part in parts.items() if isinstance(part, Correction)}
    if len(surrogates) != 1:
        known = [name for name in losses.names() if issubclass(losses.get(name), Surrogate)]
        raise ConfigError(f"{source}: expected exactly one of {', '.join(known)}, found {', '.join(surrogates) or 'none'}")
    weighing = [name for name, part in corrections.items() if part.weighs]
    if len(weighing) > 1:
        raise ConfigError(f"{source}: {' and '.join(weighing)} both multiply by the ratio of trainer to sampler; keep one")
    terms = {name: part for name, part in parts.items() if isinstance(part, Term)}
    return Objective(next(iter(surrogates.values())), corrections, terms)
