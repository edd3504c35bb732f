"""GMPO: the geometric mean of the clipped token ratios of a sample (arXiv 2507.20673).

-G A with G = exp(mean over the tokens of clip(log r)), where log r is clipped to [-clip_low, clip_high] on the side that PPO clips: from
above where A > 0, from below where A < 0. An outlier moves a geometric mean little, so the range may be wide: exp(-0.4) to exp(0.4), the
paper's. G itself carries the gradient, so all tokens of a sample share one weight, and a clipped token has none; advantages that differ
within a sample count by their mean only.

`clip_low` and `clip_high` are in nats. TRL's `GMPOTrainer` is the same; verl's `geo_mean` differs only where A = 0.
"""

import torch
from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.loss import Aggregation, LossInputs, Surrogate, bounded_exp, per_sequence, register

__all__ = ["GMPO"]


@register(
    "gmpo",
    formula="-G A, G the geometric mean of clip(r, e^-{clip_low}, e^{clip_high}) over the sample, {aggregation}",
    source="arXiv 2507.20673",
)
class GMPO(Surrogate):
    """-G A with the geometric mean G of the clipped ratios of the sample."""

    aggregation: Aggregation = "seq-mean-token-mean"
    """Every sample weighs the same."""
    clip_low: float = Field(default=0.4, ge=0)
    """Where A < 0 a token's log-ratio counts as at least -clip_low."""
    clip_high: float = Field(default=0.4, ge=0)
    """Where A > 0 a token's log-ratio counts as at most clip_high."""

    def per_token(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """Loss of every token, and which have no gradient."""
        free = inputs.logprobs - inputs.old_logprobs
        clipped = torch.where(inputs.advantages > 0, free.clamp(max=self.clip_high), free.clamp(min=-self.clip_low))
        return -bounded_exp(per_sequence(clipped, inputs, "mean")) * inputs.advantages, clipped != free
