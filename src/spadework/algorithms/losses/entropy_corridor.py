"""Entropy corridor: a sample's mean entropy shall stay within [low, high] times the mean of the run so far (EPO, arXiv 2509.22576).

The penalty is the distance to the corridor, in nats. EPO pairs it with an entropy bonus of 0.001 against the cascade in which an agent of
many turns first explores too much and then too little.

The published code's penalty is a constant (0.1) outside the corridor and 0 inside, which shifts the value of the loss and has no gradient;
the distance has one. Code also compares single tokens by default; here it is the sample (its `seq` mode), because tokens that are
rightly certain should stay so. `coef` is the product of its 0.001 and 1. Not done here: history by turn, and the weight that changes with
the phase of training.
"""

from collections.abc import Callable
from typing import ClassVar, Self

from pydantic import Field, model_validator
from torch import Tensor

from spadework.algorithms.losses.loss import LossInputs, Term, per_sequence, register
from spadework.core.errors import ConfigError

__all__ = ["EntropyCorridor"]


@register(
    "entropy-corridor",
    formula="+ {coef} * distance of the sample's entropy to [{low}, {high}] times the mean of the run",
    source="after EPO, arXiv 2509.22576",
)
class EntropyCorridor(Term):
    """Distance of a sample's mean entropy to [low, high] times the mean of the run so far."""

    needs: ClassVar[frozenset[str]] = frozenset({"entropy", "entropy_history"})
    metric: ClassVar[str] = "actor/entropy_corridor_loss"
    coef: float = Field(default=0.001, gt=0)
    low: float = Field(default=0.5, ge=0)
    """Lower end, as a multiple of the history's mean."""
    high: float = Field(default=1.5, gt=0)
    """Upper end, as a multiple of the history's mean."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.low >= self.high:
            raise ConfigError(f"entropy-corridor: 'low' {self.low} must be less than 'high' {self.high}")
        return self

    def __call__(self, inputs: LossInputs, average: Callable[[Tensor], Tensor]) -> Tensor:
        """The micro-batch's share of the distance."""
        assert inputs.entropy is not None and inputs.entropy_history is not None
        mean = per_sequence(inputs.entropy, inputs, "mean")
        below, above = self.low * inputs.entropy_history - mean, mean - self.high * inputs.entropy_history
        return average(below.clamp(min=0) + above.clamp(min=0))
