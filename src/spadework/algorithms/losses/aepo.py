"""The clip of AEPO: PPO's, but a token above the range keeps the gradient of the bound (arXiv 2510.14545).

-min(r A, clip(r, 1 - clip_low, (1 + clip_high) / sg(r) * r) A). The value is PPO's; the upper bound now moves with the policy, so the
coefficient of A grad log pi is

    1 + clip_high   where r > 1 + clip_high and A > 0   (PPO: 0)
    0               where r < 1 - clip_low and A < 0
    r               elsewhere

Where A > 0 that is CISPO's gradient with the same bound. The paper prints no bounds; 0.2 is verl's default, which the published scripts
leave. The published code also applies verl's dual clip (c = 3), which the objective of the paper does not have; it is not done here. AEPO's
entropy-aware advantage belongs to credit.
"""

import torch
from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.loss import LossInputs, Surrogate, bounded_exp, register

__all__ = ["AEPO"]


@register(
    "aepo",
    formula="-min(r A, clip(r, 1 - {clip_low}, 1 + {clip_high}) A), keeping the gradient of the upper bound, {aggregation}",
    source="arXiv 2510.14545; equals `cispo` where A > 0",
)
class AEPO(Surrogate):
    """-min(r A, clip(r) A) with a gradient at the upper bound."""

    clip_low: float = Field(default=0.2, ge=0, le=1)
    """Below 1 - clip_low a token with A < 0 has no gradient."""
    clip_high: float = Field(default=0.2, ge=0)
    """Above 1 + clip_high a token with A > 0 has the gradient of this bound."""

    def per_token(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """Loss of every token, and which have no gradient or that of the bound."""
        ratio = bounded_exp(inputs.logprobs - inputs.old_logprobs)
        bound = (1 + self.clip_high) / ratio.detach() * ratio
        free = -inputs.advantages * ratio
        clipped = -inputs.advantages * torch.where(ratio > 1 + self.clip_high, bound, ratio.clamp(min=1 - self.clip_low))
        return torch.maximum(free, clipped), clipped > free
