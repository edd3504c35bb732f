"""KL to a teacher, on failed samples only (DGPO, arXiv 2508.20324): imitate where you fail, explore where you succeed.

The paper puts it into the reward, r = 1 if the answer is right, else -0.001 KL(pi, pi_teacher); its code uses k1 = log pi - log pi_teacher
per token, with PPO and a critic. This is the loss form, which needs no critic. k2 is the default because its gradient,
(log pi - log pi_teacher) grad log pi, is what the reward form gives when a token answers for its own KL only. k1 is not offered: as a loss
its gradient does not contain the teacher at all.

A sample has failed if its reward is at most `failure`; the paper's is exactly 0.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.kl import estimate_kl
from spadework.algorithms.losses.loss import LossInputs, Term, register

__all__ = ["FailureKL"]


@register(
    "failure-kl",
    formula="+ {coef} KL(pi, teacher) where R <= {failure}, estimator {estimator}",
    source="the loss form of DGPO (arXiv 2508.20324), which has it in the reward",
)
class FailureKL(Term):
    """KL to the teacher where the reward is at most `failure`."""

    needs: ClassVar[frozenset[str]] = frozenset({"teacher_logprobs", "rewards"})
    metric: ClassVar[str] = "actor/teacher_kl_loss"
    coef: float = Field(default=0.001, gt=0)
    estimator: Literal["k2", "k3"] = "k2"
    failure: float = 0.0
    """Largest reward of a failed sample."""

    def __call__(self, inputs: LossInputs, average: Callable[[Tensor], Tensor]) -> Tensor:
        """The micro-batch's share of the KL; tokens of successes count as 0."""
        assert inputs.teacher_logprobs is not None and inputs.rewards is not None
        failed = inputs.rewards <= self.failure
        return average(estimate_kl(inputs.logprobs, inputs.teacher_logprobs, self.estimator) * failed)
