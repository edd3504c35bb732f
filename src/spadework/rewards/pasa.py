"""PaSa's crawler reward (arXiv 2501.10120): every turn is paid for the relevant documents that it finds first, and every call costs.

Relevant is what the task names as evidence, where the paper asks a selector model. The paper's constants were not found: 1 and 0.1.
"""

from pydantic import Field

from spadework.core.errors import InputError
from spadework.rewards.reward import TurnReward, register
from spadework.rewards.transcript import turn_records
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Pasa"]


@register("pasa", formula="{found} * evidence shown for the first time - {cost} calls", source="PaSa, 2501.10120")
class Pasa(TurnReward):
    """found * (evidence documents shown for the first time) - cost * calls, per turn."""

    found: float = Field(default=1.0, gt=0)
    cost: float = Field(default=0.1, ge=0)

    def __call__(self, task: Task, trajectory: Trajectory) -> list[float]:
        """One value per turn.

        Raises:
            InputError: the task names no evidence.
        """
        if not task.evidence:
            raise InputError(f"task {task.id} names no evidence, so the 'pasa' reward cannot take effect; remove the term or the task")
        missing = set(task.evidence)
        values = []
        for turn in turn_records(trajectory):
            new = missing & set(turn.documents)
            missing -= new
            values.append(self.found * len(new) - self.cost * len(turn.calls))
        return values
