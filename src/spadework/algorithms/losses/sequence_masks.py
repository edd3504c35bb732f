"""Masks that drop whole samples on which trainer and sampler disagree: factors of 0 or 1, from w = pi_old / mu.

`sequence-mask` looks at the product of w over the sample's policy tokens, which a long sample leaves easily; `geometric-mask` at their
geometric mean, which does not depend on the length. Both may stand beside `tis` or `is-mask`, which weigh what is kept. verl and SkyRL have
them as rejection; 0.99 to 1.01 for the geometric mean is SkyRL's recommendation, the range for the product is ours. A sample with one
impossible token can pass the geometric mask; `is-mask` is the cure.
"""

from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from spadework.algorithms.losses.loss import Correction, LossInputs, bounded_exp, per_sequence, register
from spadework.core.errors import ConfigError

__all__ = ["GeometricMask", "SequenceMask"]


class _Mask(Correction):
    low: float = Field(ge=0)
    """Samples below are dropped."""
    high: float = Field(gt=0)
    """Samples above are dropped."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.low >= self.high:
            raise ConfigError(f"loss mask: 'low' {self.low} must be less than 'high' {self.high}, or every sample is dropped")
        return self

    def _keep(self, inputs: LossInputs, how: Literal["sum", "mean"]) -> tuple[Tensor, Tensor]:
        ratio = bounded_exp(per_sequence(inputs.old_logprobs - inputs.sampler_logprobs, inputs, how))
        dropped = (ratio < self.low) | (ratio > self.high)
        return (~dropped).to(ratio.dtype), dropped


@register("sequence-mask", formula="* 1 where the product of the sample's w is in [{low}, {high}], else 0", source="verl, SkyRL")
class SequenceMask(_Mask):
    """1 where the product of w over the sample is in [low, high], else 0."""

    low: float = Field(default=0.5, ge=0)
    high: float = Field(default=2.0, gt=0)

    def factors(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """1 or 0, and which tokens are dropped."""
        return self._keep(inputs, "sum")


@register("geometric-mask", formula="* 1 where the geometric mean of the sample's w is in [{low}, {high}], else 0", source="SkyRL")
class GeometricMask(_Mask):
    """1 where the geometric mean of w over the sample is in [low, high], else 0."""

    low: float = Field(default=0.99, ge=0)
    high: float = Field(default=1.01, gt=0)

    def factors(self, inputs: LossInputs) -> tuple[Tensor, Tensor]:
        """1 or 0, and which tokens are dropped."""
        return self._keep(inputs, "mean")
