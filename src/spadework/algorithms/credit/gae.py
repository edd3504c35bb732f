"""Generalised advantage estimation with a critic: PPO (arXiv 1506.02438, 1707.06347).

delta_t = r_t + gamma V_{t+1} - V_t and A_t = sum of (gamma lambda)^l delta_{t+l} over policy tokens: observation tokens are skipped, so
V_{t+1} is the critic's value before the next sampled token. Rewards fall as in `place_rewards`; turn rewards on the turn's last token make
this StepSearch's StePPO. V is 0 after the last token, also of a truncated trajectory. The critic's targets, A_t + V_t before whitening,
are written as `Node.returns`. The defaults are those of Search-R1; PPO's paper has gamma 0.99, lambda 0.95.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from spadework.algorithms.credit.credit import BatchRule, CreditError, register, usable
from spadework.algorithms.credit.policy_tokens import Row, discounted_sums, place_rewards, read, whiten, write
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["GAE"]


@register("gae", formula="A_t = sum over l of ({gamma} * {lam})^l delta_(t+l); whitened: {whiten}", source="PPO, arXiv 1506.02438")
class GAE(BatchRule):
    """A_t = sum of (gamma lam)^l (r + gamma V_next - V) over policy tokens."""

    reads: ClassVar[frozenset[str]] = frozenset({"values"})
    uses: ClassVar[frozenset[str]] = frozenset({"turn_rewards", "span_rewards"})

    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount per policy token."""
    lam: float = Field(default=1.0, ge=0, le=1)
    """1: return minus value; 0: one step."""
    whiten: bool = True
    """Whether advantages get mean 0 and deviation 1 over the policy tokens of the step, as in verl and TRL."""

    def assign(self, groups: Sequence[Group]) -> None:
        """Write the advantages and the critic's targets (see `CreditRule`)."""
        trained = [trajectory for group in groups for trajectory in usable(group)]
        values = [_values(trajectory) for trajectory in trained]
        deltas = [place_rewards(trajectory) for trajectory in trained]
        for delta, value in zip(deltas, values, strict=True):
            delta -= value
            delta[:-1] += self.gamma * value[1:]
        advantages = discounted_sums(deltas, self.gamma * self.lam)
        rows = whiten(advantages) if self.whiten else advantages
        for trajectory, row, advantage, value in zip(trained, rows, advantages, values, strict=True):
            write(trajectory, advantages=row, returns=advantage + value)


def _values(trajectory: Trajectory) -> Row:
    for node in trajectory.generations():
        if len(node.values) != len(node.token_ids):
            raise CreditError(
                f"trajectory {trajectory.task_id}/{trajectory.sample}: node {node.id} has {len(node.values)} values for "
                f"{len(node.token_ids)} tokens; gae reads a critic's estimates, so the run needs one"
            )
    return read(trajectory, "values")
