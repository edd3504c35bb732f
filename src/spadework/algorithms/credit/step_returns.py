"""Token-placed step rewards without a critic: rewards where they fall, returns to go (the rewards of StepSearch, arXiv 2505.15107).

A_t = G_t - b_k: G_t is the discounted return over policy tokens from t on, with span rewards on their tokens, a turn's reward on its last
token and the trajectory's on the last of all; b_k is the mean return at the start of the group's k-th turns, so that what was earned before
turn k changes nothing. StepSearch itself learns a critic; that is `gae` with turn rewards. A k-th turn that no other trajectory has is
compared with the mean return of the whole group from the start.
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from spadework.algorithms.credit.credit import CreditError, CreditRule, members, moments, register, usable
from spadework.algorithms.credit.policy_tokens import discounted_sums, place_rewards, write
from spadework.trajectories.tree import Group

__all__ = ["StepReturns"]


@register(
    "step-returns",
    formula="A_t = sum over l of {gamma}^l r_(t+l) - mean return at the start of the same turn",
    source="rewards of StepSearch, arXiv 2505.15107, without its critic",
)
class StepReturns(CreditRule):
    """A_t = G_t - mean return of the group at the start of the same turn."""

    uses: ClassVar[frozenset[str]] = frozenset({"turn_rewards", "span_rewards"})
    one_of: ClassVar[frozenset[str]] = uses

    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount per policy token."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        compared = members(group)
        if not any(node.rewards or node.token_rewards for trajectory in compared for node in trajectory.generations()):
            raise CreditError(f"group {group.key} has neither turn nor span rewards, which step-returns places; add one to the rubric")
        rows = dict(
            zip(map(id, compared), discounted_sums([place_rewards(trajectory) for trajectory in compared], self.gamma), strict=True)
        )
        sizes = {id(t): [node.num_sampled for node in t.generations() if node.num_sampled] for t in compared}
        starts = {key: rows[key][np.cumsum([0, *lengths[:-1]])] for key, lengths in sizes.items() if lengths}
        count = max(map(len, starts.values()), default=0)
        means = [[float(start[k]) for start in starts.values() if len(start) > k] for k in range(count)]
        baselines = [moments(means[0] if len(values) == 1 else values)[0] for values in means]
        for trajectory in usable(group):
            lengths = sizes[id(trajectory)]
            write(trajectory, advantages=rows[id(trajectory)] - np.repeat(baselines[: len(lengths)], lengths))
