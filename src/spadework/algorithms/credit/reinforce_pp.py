"""REINFORCE++ (arXiv 2501.03262): the return of every token, whitened over the whole batch, without a group.

G_t = sum over l >= t of gamma^(l - t) r_l over policy tokens, with the trajectory's reward on its last token and turn and span rewards
where they fall (`place_rewards`); A_t = (G_t - mean) / std, with the moments of all policy tokens of the step. Long trajectories weigh more
in these moments than short ones; verl and OpenRLHF compute them so, the paper does not say. One sample per task is enough: there is no
group to compare. Not done here: the paper's KL penalty on every token, which is a term of the loss here.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from spadework.algorithms.credit.credit import BatchRule, register, usable
from spadework.algorithms.credit.policy_tokens import discounted_sums, place_rewards, whiten, write
from spadework.trajectories.tree import Group

__all__ = ["ReinforcePP"]


@register("reinforce-pp", formula="A_t = sum over l of {gamma}^l r_(t+l), whitened over the batch's tokens", source="arXiv 2501.03262")
class ReinforcePP(BatchRule):
    """A_t = the token's discounted return, whitened over the policy tokens of the step."""

    uses: ClassVar[frozenset[str]] = frozenset({"turn_rewards", "span_rewards"})

    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount per policy token."""

    def assign(self, groups: Sequence[Group]) -> None:
        """Write the advantages (see `CreditRule`)."""
        trained = [trajectory for group in groups for trajectory in usable(group)]
        rows = whiten(discounted_sums([place_rewards(trajectory) for trajectory in trained], self.gamma))
        for trajectory, row in zip(trained, rows, strict=True):
            write(trajectory, advantages=row)
