"""Group-in-group credit: GiGPO (arXiv 2505.10978).

A = A_episode + omega * A_step on every token of a turn. The first compares the trajectories of the group. The second compares all turns of
the group that were taken in the same state: the turn's return sum of gamma^(l - k) r_l over the turns from k on, with turn rewards and, on
the last turn, the trajectory's, minus the mean of these returns. A state that occurs once gives 0 (see `turn_states`). Not done here: the
code's optional grouping of similar states.
"""

from typing import ClassVar, Literal

from pydantic import Field

from spadework.algorithms.credit.credit import CreditRule, baseline, members, moments, register, set_turns, usable, z_score
from spadework.algorithms.credit.states import Places, turn_states
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["GiGPO"]


@register(
    "gigpo",
    formula="A = R_i - mean + {omega} (return of the turn, gamma {gamma}, - mean over turns in the same state); {norm}",
    source="arXiv 2505.10978",
)
class GiGPO(CreditRule):
    """A_{i,k} = A_episode,i + omega A_step,i,k on every token of turn k."""

    uses: ClassVar[frozenset[str]] = frozenset({"turn_rewards"})

    omega: float = Field(default=1.0, ge=0)
    """Weight of the step advantage."""
    gamma: float = Field(default=0.95, ge=0, le=1)
    """Discount per turn."""
    norm: Literal["mean_norm", "mean_std_norm"] = "mean_norm"
    """Whether both advantages are divided by their standard deviation; names of the released code."""
    epsilon: float = Field(default=1e-6, ge=0)
    """Added to the standard deviations."""

    def __call__(self, group: Group) -> None:
        """Write the advantages (see `CreditRule`)."""
        places: Places = {}
        steps = {id(t): list(zip(turn_states(t, places), self._returns(t), strict=True)) for t in members(group)}
        returns: dict[str | int, list[float]] = {}
        for state, value in (step for taken in steps.values() for step in taken):
            returns.setdefault(state, []).append(value)
        compared = {state: moments(values) for state, values in returns.items()}
        episode = baseline(group)
        for trajectory in usable(group):
            outcome = self._relative(trajectory.reward, *episode)
            taken = steps[id(trajectory)]
            set_turns(trajectory, [outcome + self.omega * self._relative(value, *compared[state]) for state, value in taken])

    def _relative(self, value: float, mean: float, std: float) -> float:
        return value - mean if self.norm == "mean_norm" else z_score(value, mean, std, self.epsilon)

    def _returns(self, trajectory: Trajectory) -> list[float]:
        returns: list[float] = []
        for node in reversed(list(trajectory.generations())):
            returns.append(node.reward + (self.gamma * returns[-1] if returns else trajectory.reward))
        return returns[::-1]
