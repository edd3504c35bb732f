"""Entropy bonus: -H of the trained policy at every policy token (PPO, arXiv 1707.06347, eq. 9: 0.01).

It keeps the policy from becoming certain too early. The same coefficient is too much for a vocabulary of 100,000 tokens; published language
agents that use it at all take 0.001 (EPO). TRL averages the bonus over tokens whatever the loss type; here it is averaged as the surrogate
is. H needs the whole distribution, so the learner computes it beside the log-probabilities; no loss holds logits.
"""

from collections.abc import Callable
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.loss import LossInputs, Term, register

__all__ = ["EntropyBonus"]


@register("entropy-bonus", formula="- {coef} H", source="arXiv 1707.06347, eq. 9")
class EntropyBonus(Term):
    """-H."""

    needs: ClassVar[frozenset[str]] = frozenset({"entropy"})
    metric: ClassVar[str] = "actor/entropy_loss"
    coef: float = Field(default=0.01, gt=0)

    def __call__(self, inputs: LossInputs, average: Callable[[Tensor], Tensor]) -> Tensor:
        """The micro-batch's share of -H."""
        assert inputs.entropy is not None
        return average(-inputs.entropy)
