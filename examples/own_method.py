"""A reward and a credit rule of your own, outside the package: `spadework train RECIPE imports=[own_method]` with this file on PYTHONPATH.

The reward prefers short answers among correct ones; the rule gives a trajectory its rank in the group instead of its reward, from -1 to
1, so one outlier cannot set the scale.
"""

from pydantic import Field

from spadework.algorithms.credit.credit import CreditRule, usable
from spadework.algorithms.credit.credit import register as register_credit
from spadework.rewards.matching import em
from spadework.rewards.reward import RewardTerm
from spadework.rewards.reward import register as register_reward
from spadework.tasks.task import Task
from spadework.trajectories.tree import Group, Trajectory


@register_reward("brief")
class Brief(RewardTerm):
    """1 for a correct answer, less what its words beyond the first cost; 0 for a wrong one."""

    price: float = Field(default=0.1, ge=0, le=1)

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        correct = trajectory.answer is not None and em(trajectory.answer, task.answers)
        return max(0.0, 1.0 - self.price * (len(trajectory.answer.split()) - 1)) if correct else 0.0


@register_credit("rank")
class Rank(CreditRule):
    """Share of the others that did worse, minus the share that did better."""

    def __call__(self, group: Group) -> None:
        members = usable(group)
        for one in members:
            better = sum((one.reward > other.reward) - (one.reward < other.reward) for other in members)
            one.set_advantage(better / max(1, len(members) - 1))
