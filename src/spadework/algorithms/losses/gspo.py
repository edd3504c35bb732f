"""GSPO: one importance ratio per sample, as the reward is per sample (Qwen, arXiv 2507.18071).

s_i = exp(mean over the tokens of i of log r), and the loss is -min(s A, clip(s, 1 - clip_low, 1 + clip_high) A), so a sample is clipped as
a whole. This is the token form (eq. 14): s_it = sg(s_i) pi / sg(pi) has the value of s_i and each token's own gradient, so advantages may
differ between the tokens of a sample; where they do not, value and gradient are those of the sample form.

The clip range is that of the paper, a thousand times narrower than PPO's, because a mean over a long sample hardly moves. TRL has the
sample form, `importance_sampling_level="sequence"` with loss type `grpo`; verl has the token form.
"""

import torch
from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.loss import Aggregation, LossInputs, Surrogate, bounded_exp, per_sequence, register

__all__ = ["GSPO"]


@register(
    "gspo",
    formula="-min(s A, clip(s, 1 - {clip_low}, 1 + {clip_high}) A), s the geometric mean of r over the sample, {aggregation}",
    source="arXiv 2507.18071",
)
class GSPO(Surrogate):
    """-min(s A, clip(s) A) with the ratio s of the sample."""

    aggregation: Aggregation = "seq-mean-token-mean"
    """Every sample weighs the same."""
    clip_low: float = Field(default=3e-4, ge=0, le=1)
    """The ratio of a sample may fall to 1 - clip_low."""
    clip_high: float = Field(default=4e-4, ge=0)
    """The ratio of a sample may rise to 1 + clip_high."""

    def per_token(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """Loss of every token, and which have no gradient."""
        own = inputs.logprobs - inputs.logprobs.detach()
        shared = per_sequence((inputs.logprobs - inputs.old_logprobs).detach(), inputs, "mean")
        ratio = bounded_exp(shared + own)
        free = -inputs.advantages * ratio
        clipped = -inputs.advantages * ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        return torch.maximum(free, clipped), clipped > free
