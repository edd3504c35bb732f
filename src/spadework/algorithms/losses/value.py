"""A critic's loss, with the clip of PPO's implementations: max((V - R)^2, (clip(V, V_old +- clip) - R)^2) / 2.

The clip takes the gradient from an estimate that has already moved `clip` towards its return. It is not in PPO's paper (arXiv 1707.06347,
eq. 9 has the square alone) but in its code, and verl and TRL keep it: verl's range is 0.5, TRL's 0.2. The gradient goes through `values`
only; whether the critic shares weights with the policy is the learner's affair, and so is a learning rate of its own.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.loss import LossInputs, Term, register

__all__ = ["Value"]


@register("value")
class Value(Term):
    """Half the larger of the squared errors of the estimate and of its clipped form."""

    needs: ClassVar[frozenset[str]] = frozenset({"values", "old_values", "returns"})
    metric: ClassVar[str] = "critic/vf_loss"
    coef: float = Field(default=1.0, gt=0)
    clip: float = Field(default=0.5, gt=0)
    """How far an estimate may move, in units of the reward."""

    def __call__(self, inputs: LossInputs, average: Callable[[Tensor], Tensor]) -> Tensor:
        """The micro-batch's share of the critic's loss."""
        assert inputs.values is not None and inputs.old_values is not None and inputs.returns is not None
        clipped = inputs.old_values + (inputs.values - inputs.old_values).clamp(-self.clip, self.clip)
        return average(torch.maximum((inputs.values - inputs.returns).square(), (clipped - inputs.returns).square()) / 2)
