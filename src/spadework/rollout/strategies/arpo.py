"""ARPO's entropy-based adaptive rollout (arXiv 2507.19849): N samples from the root, the other M - N from branching.

A path branches after a tool result with probability alpha + beta * jump (`rollout/branching.py` has the jump, and where all of this differs
from the paper and its code). The paper states a threshold besides: P_t > tau branches. Its code draws, u - beta * jump <= tau, which is
this probability with alpha = tau, and that is what is done here.
"""

from pydantic import Field

from spadework.core.errors import ConfigError
from spadework.rollout.branching import Branching
from spadework.rollout.strategy import Drive, fresh, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["ARPO"]


@register(
    "arpo",
    formula="roots: {initial_rollouts} (none: half of the samples); after a result a path forks into {beam_size} with probability "
    "{alpha} + {beta} * jump of entropy over {tokens} tokens",
    source="ARPO, arXiv 2507.19849",
)
class ARPO(Branching):
    """Half of the samples from the root, the others as forks where entropy has risen."""

    beta: float = Field(default=0.2, ge=0)
    """Weight of the jump."""
    initial_rollouts: int | None = Field(default=None, gt=0)
    """N: samples from the root; half of all if not given, as 8 of 16 and 6 of 12 in the published scripts."""

    def check(self, num_samples: int) -> None:
        """Refuse samples of which none is left to branch (see `Strategy`)."""
        if self._initial(num_samples) >= num_samples:
            raise ConfigError(
                f"rl.rollout: arpo: {self._initial(num_samples)} of {num_samples} samples start from the root, so nothing can branch; "
                "lower initial_rollouts or raise rl.samples"
            )

    async def roots(self, task: Task, num_samples: int, drive: Drive, vocab_size: int) -> list[Trajectory]:
        """The first N (see `Branching`)."""
        return fresh(task, range(self._initial(num_samples)))

    def probability(self, jump: float, streak: int) -> float:
        """See the module."""
        return self.alpha + self.beta * jump

    def _initial(self, num_samples: int) -> int:
        return self.initial_rollouts or (num_samples + 1) // 2
