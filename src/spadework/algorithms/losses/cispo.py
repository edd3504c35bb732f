"""CISPO: clip the weight, never drop the token (MiniMax-M1, arXiv 2506.13585).

Per token: -sg(min(r, 1 + clip_high)) A log pi with r = exp(logprobs - old_logprobs) and sg = stop-gradient. PPO's clip takes the gradient
from rare tokens at which the policy forks, because their ratio moves fastest; here every token keeps a bounded one. Its value is no
estimate of anything; only its gradient has a meaning. There is no bound from below, as in the paper's experiments.

The paper does not print its bound. TRL and ScaleRL (arXiv 2510.13786) cap the ratio itself (`epsilon_high` 5 there is `clip_high` 4 here);
TRL counts a token as clipped only where A > 0, here it is counted whatever its sign.
"""

from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.loss import LossInputs, Surrogate, bounded_exp, register

__all__ = ["CISPO"]


@register("cispo", formula="-sg(min(r, 1 + {clip_high})) A log pi, {aggregation}", source="arXiv 2506.13585")
class CISPO(Surrogate):
    """-sg(min(r, 1 + clip_high)) A log pi."""

    clip_high: float = Field(default=4.0, ge=0)
    """The weight is at most 1 + clip_high."""

    def per_token(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """Loss of every token, and which have a bounded weight."""
        ratio = bounded_exp(inputs.logprobs - inputs.old_logprobs).detach()
        cap = 1 + self.clip_high
        return -ratio.clamp(max=cap) * inputs.advantages * inputs.logprobs, ratio > cap
