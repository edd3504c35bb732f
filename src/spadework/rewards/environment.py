"""The reward that an environment behind a tool gives: of TRL's environment classes and of servers of verl-tool.

Such tools note it under `meta["reward"]` of every call (`tools/from_trl.py`, `tools/verl_tool.py`); it is the environment's word on the
trajectory as it stands after that call.
"""

from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["EnvironmentReward"]


@register("environment", formula="the last reward that a tool's environment gave; {without} if none did", source="TRL")
class EnvironmentReward(RewardTerm):
    """What the environment gave at the last call that has a reward."""

    without: float = 0.0
    """Of a trajectory that never called the environment, or only in vain."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Any number; the environment's scale."""
        calls = [call.get("meta", {}) for node in trajectory.nodes for call in node.meta.get("calls", ())]
        given = [meta["reward"] for meta in calls if "reward" in meta]
        return float(given[-1]) if given else self.without
