"""Independent attempts: every trajectory starts from the root and knows nothing of the others, as GRPO has it (arXiv 2402.03300)."""

from spadework.rollout.strategy import Drive, Strategy, fresh, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["INDEPENDENT", "Independent"]


@register("independent", formula="every trajectory from the root", source="the ordinary rollout")
class Independent(Strategy):
    """As many roots as samples."""

    async def sample(self, task: Task, num_samples: int, drive: Drive, *, seed: int, vocab_size: int) -> list[Trajectory]:
        """Make the group of a task (see `Strategy`)."""
        trajectories = fresh(task, range(num_samples))
        await drive(trajectories)
        return trajectories


INDEPENDENT = Independent()
"""What a rollout does unless it is told otherwise; it has no options."""
