"""PPO's clip on the ratio of a whole sample, which is one action: the loss of RLOO (arXiv 2402.14740) in TRL.

s_i = product over the tokens of i of r, and the loss is -min(s A, clip(s, 1 - clip_low, 1 + clip_high) A). The product is the unbiased
weight of a sample and leaves the range within a few tokens, which is why `gspo` takes the geometric mean. On policy its gradient is
REINFORCE's: A times the sum of grad log pi, undivided by the length. RLOO's paper has one update per step, so neither ratio nor clip.
Advantages that differ within a sample count by their mean only.
"""

import torch
from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.loss import Aggregation, LossInputs, Surrogate, bounded_exp, per_sequence, register

__all__ = ["SequenceClip"]


@register(
    "sequence-clip",
    formula="-min(s A, clip(s, 1 - {clip_low}, 1 + {clip_high}) A), s the product of r over the sample, {aggregation}",
    source="RLOO, arXiv 2402.14740, as in TRL",
)
class SequenceClip(Surrogate):
    """-min(s A, clip(s) A) with the product s of the ratios of the sample."""

    aggregation: Aggregation = "seq-mean-token-mean"
    """Every sample weighs the same."""
    clip_low: float = Field(default=0.2, ge=0, le=1)
    """The ratio of a sample may fall to 1 - clip_low."""
    clip_high: float = Field(default=0.2, ge=0)
    """The ratio of a sample may rise to 1 + clip_high."""

    def per_token(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """Loss of every token, and which have no gradient."""
        ratio = bounded_exp(per_sequence(inputs.logprobs - inputs.old_logprobs, inputs, "sum"))
        free = -inputs.advantages * ratio
        clipped = -inputs.advantages * ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        return torch.maximum(free, clipped), clipped > free
