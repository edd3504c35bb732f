"""KL from the policy to a frozen reference, added to the loss (GRPO, arXiv 2402.03300, eq. 4: k3, 0.04).

Estimators on the sampled token, d = log pi_ref - log pi (Schulman, "Approximating KL divergence"): k1 = -d, k2 = d^2 / 2,
k3 = exp(d) - 1 - d. All estimate the value; as losses they differ in their gradient. On policy, that of k2 is the gradient of
KL(pi, pi_ref) and that of k3 the gradient of KL(pi_ref, pi). That of k1 is grad log pi, whose mean is 0: as a loss k1 regularises nothing,
and it is here to show that. Token by token, as published: the effect of a token on the KL of later ones is left out.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from spadework.algorithms.losses.loss import LossInputs, Term, register

__all__ = ["KL", "Estimator", "estimate_kl"]

Estimator = Literal["k1", "k2", "k3"]


def estimate_kl(logprobs: Tensor, other: Tensor, estimator: Estimator) -> Tensor:
    """KL(policy, other) at each sampled token [N], from log-probabilities in nats."""
    difference = (other - logprobs).clamp(-20, 20)
    if estimator == "k1":
        return -difference
    return difference.square() / 2 if estimator == "k2" else torch.expm1(difference) - difference


@register("kl", formula="+ {coef} KL(pi, reference), estimator {estimator}", source="arXiv 2402.03300, eq. 4")
class KL(Term):
    """KL to the reference policy."""

    needs: ClassVar[frozenset[str]] = frozenset({"reference_logprobs"})
    metric: ClassVar[str] = "actor/kl_loss"
    coef: float = Field(default=0.04, gt=0)
    estimator: Estimator = "k3"

    def __call__(self, inputs: LossInputs, average: Callable[[Tensor], Tensor]) -> Tensor:
        """The micro-batch's share of the KL."""
        assert inputs.reference_logprobs is not None
        return average(estimate_kl(inputs.logprobs, inputs.reference_logprobs, self.estimator))
