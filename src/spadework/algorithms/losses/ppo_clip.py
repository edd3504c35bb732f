"""The clipped surrogate of PPO (arXiv 1707.06347, eq. 7), which GRPO, DAPO and Dr.GRPO use.

Per token: -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) with r = exp(logprobs - old_logprobs). A token that has already moved far
enough in the direction of its advantage gets no gradient; a move in the wrong direction is always corrected. With `clip_high: 0.28` this
is DAPO's clip-higher. Not done here: the dual clip for negative advantages, the KL to a reference policy, and any correction for the
mismatch between trainer and sampler.
"""

from typing import Self

import torch
from pydantic import Field, model_validator

from spadework.algorithms.losses.loss import Aggregation, Loss, LossInputs, LossOutput, aggregate, diagnostics, register
from spadework.core.errors import ConfigError

__all__ = ["PPOClip"]


@register("ppo-clip")
class PPOClip(Loss):
    """-min(r A, clip(r) A), summed and divided by a count of the whole step."""

    clip_low: float = Field(default=0.2, ge=0, le=1)
    """The ratio may fall to 1 - clip_low."""
    clip_high: float = Field(default=0.2, ge=0)
    """The ratio may rise to 1 + clip_high. DAPO: 0.28."""
    aggregation: Aggregation = "token-mean"
    """How tokens are averaged (see `aggregate`). PPO and DAPO: token-mean; GRPO: seq-mean-token-mean; Dr.GRPO: constant."""
    length: int | None = Field(default=None, gt=0)
    """Tokens per sample that `constant` divides by: the generation budget. Only allowed there."""

    @model_validator(mode="after")
    def _length_takes_effect(self) -> Self:
        if (self.aggregation == "constant") != (self.length is not None):
            raise ConfigError("ppo-clip: 'length' goes with aggregation 'constant', which needs it, and has no effect with any other")
        return self

    def __call__(self, inputs: LossInputs) -> LossOutput:
        """The micro-batch's share of the step's loss, and verl's `actor/*` metrics."""
        # Unbounded, exp overflows and the masked branch's gradient becomes 0 * inf = nan; 20 nats are far outside any clip range.
        ratio = torch.exp((inputs.logprobs - inputs.old_logprobs).clamp(-20, 20))
        free = -inputs.advantages * ratio
        clipped = -inputs.advantages * ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        loss = aggregate(torch.maximum(free, clipped), inputs, self.aggregation, self.length)
        return LossOutput(
            loss,
            {
                "actor/pg_loss": float(loss.detach()),
                "actor/pg_clipfrac": float((clipped > free).sum()) / inputs.num_tokens,
                **diagnostics(inputs),
            },
        )
