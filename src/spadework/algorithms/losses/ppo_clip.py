"""The clipped surrogate of PPO (arXiv 1707.06347, eq. 7), which GRPO, DAPO and Dr.GRPO use.

Per token: -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) with r = exp(logprobs - old_logprobs). A token that has already moved far
enough in the direction of its advantage gets no gradient; a move in the wrong direction is always corrected. With `clip_high: 0.28` this
is DAPO's clip-higher. `dual_clip` c bounds the loss of a token with A < 0 at c |A| (arXiv 1912.09729), so there is no gradient once r > c.
With the correction `is-mask` this is the decoupled objective of AReaL (arXiv 2505.24298). Penalties are terms, not options.

TRL's `delta` clamps r from above for both signs; as long as it exceeds 1 + clip_high that is the same as the dual clip.
"""

import torch
from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.loss import LossInputs, Surrogate, bounded_exp, register

__all__ = ["PPOClip"]


@register(
    "ppo-clip",
    formula="-min(r A, clip(r, 1 - {clip_low}, 1 + {clip_high}) A), {aggregation}",
    source="arXiv 1707.06347; `clip_high: 0.28` is DAPO, `dual_clip: 3` bounds tokens with A < 0 (AFM: 10)",
)
class PPOClip(Surrogate):
    """-min(r A, clip(r) A)."""

    clip_low: float = Field(default=0.2, ge=0, le=1)
    """The ratio may fall to 1 - clip_low."""
    clip_high: float = Field(default=0.2, ge=0)
    """The ratio may rise to 1 + clip_high. DAPO: 0.28."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Where A < 0 the loss is at most this times |A|. The dual-clip paper: 3; AFM: 10."""

    def per_token(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """Loss of every token, and which have no gradient."""
        ratio = bounded_exp(inputs.logprobs - inputs.old_logprobs)
        free = -inputs.advantages * ratio
        clipped = -inputs.advantages * ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        loss, cut = torch.maximum(free, clipped), clipped > free
        if self.dual_clip is not None:
            bound = -inputs.advantages * self.dual_clip
            over = (inputs.advantages < 0) & (loss > bound)
            loss, cut = torch.where(over, bound, loss), cut | over
        return loss, cut
