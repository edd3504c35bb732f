"""ECHO: cross-entropy on observation tokens, so that failed trajectories teach too how the world answers (arXiv 2605.24517).

L = L_policy + coef * mean over the observation tokens of -log pi. The tokens went through the same forward pass, so it costs their rows of
the output matrix and nothing else. prime-rl is the peer that has it; its weight is 0.1. This is the one place where tokens that were not
sampled are learned from: they are no part of `logprobs` and take no part in the surrogate (invariant 2).

In a search environment it also teaches to recite pages; watch the report's success and not this term. The paper leaves warnings of its
harness out; here every token of an observation node counts.
"""

from collections.abc import Callable
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.loss import LossInputs, Term, register

__all__ = ["ECHO"]


@register("echo", formula="+ {coef} * mean of -log pi over observation tokens", source="arXiv 2605.24517")
class ECHO(Term):
    """Mean -log pi of the step's observation tokens."""

    needs: ClassVar[frozenset[str]] = frozenset({"observations"})
    metric: ClassVar[str] = "actor/echo_loss"
    coef: float = Field(default=0.1, gt=0)

    def __call__(self, inputs: LossInputs, average: Callable[[Tensor], Tensor]) -> Tensor:
        """The micro-batch's share; observations have a count of their own."""
        assert inputs.observations is not None
        return -inputs.observations.sum() / max(1, inputs.num_observations)
