"""Truncated importance sampling: every token weighs min(w, cap), w = pi_old / mu (Yao et al. 2025; verl's `rollout_is`).

mu is the sampler as it really sampled, pi_old the trainer's own reading of the same weights. Where they disagree (another kernel, another
number format, truncated sampling, stale weights) the gradient is that of the wrong distribution; w puts it right, the cap bounds the
variance at the price of some bias. At level `sequence` w is the product over the sample's policy tokens, which is unbiased for a reward of
the whole sample and has a far larger variance; verl gives 1.5 to 5 for the cap of tokens and 2 to 10 for that of sequences.
"""

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.loss import Correction, LossInputs, bounded_exp, per_sequence, register

__all__ = ["TIS"]


@register("tis", formula="* min(w, {cap}), w of the {level}", source="verl's rollout correction")
class TIS(Correction):
    """min(w, cap)."""

    weighs: ClassVar[bool] = True
    cap: float = Field(default=2.0, gt=0)
    """Largest weight."""
    level: Literal["token", "sequence"] = "token"
    """Whose ratio is capped."""

    def factors(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """The weights, and which are capped."""
        drift = inputs.old_logprobs - inputs.sampler_logprobs
        weights = bounded_exp(drift if self.level == "token" else per_sequence(drift, inputs, "sum"))
        return weights.clamp(max=self.cap), weights > self.cap
