"""The contract of a rollout strategy: how the attempts at one task come about, from the root or as forks of each other.

A strategy never asks a model or a tool. It makes trajectories, empty ones or forks (`Trajectory.fork`), has them driven, and decides by
what they hold. A turn's seed is that of (task, sample, turn), and a strategy draws from streams of (task, sample, turn) or (task, tree,
round) and numbers its samples in an order of its own, so the same seed gives the same forest whatever the concurrency and the timing.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

from spadework.core.registry import Part, Registry
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status, Trajectory

__all__ = ["Drive", "Strategy", "fresh", "register", "running", "strategies"]


class Drive(Protocol):
    """Goes on with trajectories of one task, concurrently and in place."""

    async def __call__(self, trajectories: Sequence[Trajectory], turns: int | None = None) -> None:
        """Return when each of them has ended, or has made so many turns more."""
        ...


class Strategy(Part):
    """A way to spend a number of samples on a task; its defaults are the published setting."""

    forks: ClassVar[bool] = False
    """Whether its trajectories fork, which credit rules that read `forks` need."""

    def check(self, num_samples: int) -> None:
        """Refuse a number of samples that it cannot make.

        Raises:
            ConfigError: says which numbers or options would be right.
        """

    @abstractmethod
    async def sample(self, task: Task, num_samples: int, drive: Drive, *, seed: int, vocab_size: int) -> list[Trajectory]:
        """Make the group of a task.

        Args:
            task: the question.
            num_samples: number of trajectories; every one has its place in the result as its `sample`.
            drive: runs trajectories of this task.
            seed: of the rollout; what the strategy draws is derived from it and the task.
            vocab_size: number of tokens that there are.

        Returns:
            `num_samples` trajectories that have ended.
        """


strategies: Registry[Strategy] = Registry("rollout strategy", "spadework.rollout.strategies")
"""All registered strategies."""
register = strategies.register


def fresh(task: Task, samples: range) -> list[Trajectory]:
    """Attempts that have not begun, and will start from the root."""
    return [Trajectory(task.id, sample) for sample in samples]


def running(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Those that have not ended."""
    return [trajectory for trajectory in trajectories if trajectory.status is Status.RUNNING]
