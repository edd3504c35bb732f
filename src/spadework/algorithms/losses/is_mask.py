"""Masked importance sampling: a token weighs w = pi_old / mu, and nothing where w leaves [low, high].

AReaL drops tokens with w > 5 (arXiv 2505.24298; ASearcher uses it); with PPO's clip this is its decoupled objective,
-w min(r A, clip(r) A) with r = pi / pi_old. With a lower bound it is IcePop (0.5 to 5), TRL's `token_mask`. A token that the trainer finds
much likelier than the sampler did is more often an error of the sampler than a find, so dropping it is safer than capping it (`tis`).
"""

from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from spadework.algorithms.losses.loss import Correction, LossInputs, bounded_exp, register
from spadework.core.errors import ConfigError

__all__ = ["ISMask"]


@register("is-mask", formula="* w where {low} <= w <= {high}, else 0", source="AReaL, arXiv 2505.24298 (high 5); IcePop (low 0.5)")
class ISMask(Correction):
    """w where low <= w <= high, else 0."""

    weighs: ClassVar[bool] = True
    low: float = Field(default=0.0, ge=0)
    """Tokens with a smaller weight are dropped."""
    high: float = Field(default=5.0, gt=0)
    """Tokens with a larger weight are dropped."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.low >= self.high:
            raise ConfigError(f"is-mask: 'low' {self.low} must be less than 'high' {self.high}, or every token is dropped")
        return self

    def factors(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """The weights, and which tokens are dropped."""
        weights = bounded_exp(inputs.old_logprobs - inputs.sampler_logprobs)
        dropped = (weights < self.low) | (weights > self.high)
        return torch.where(dropped, 0.0, weights), dropped
