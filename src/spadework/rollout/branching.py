"""Branching where the policy is unsure after a tool result: the rollout that ARPO (arXiv 2507.19849) and AEPO (arXiv 2510.14545) share.

Some samples start from the root. After every tool result, the first k tokens of the turn that follows it are compared with the first k
tokens of the first turn of the path:

    jump = sum_i (H_i - H_i of the first turn) / log V     i < k and both turns that long; H_i entropies in nats, V the vocabulary

With a probability that rises with the jump the path forks at the result: Z - 1 copies of it go on with other seeds. That goes on until the
samples are used up; if all paths end first, the rest starts from the root.

Where this differs from the papers and their code:
- The papers subtract the entropies of k tokens and normalise. Their code sums over the 10 best tokens of up to 20 positions of each turn
  and divides by log V, so a long turn has more entropy than a short one. Here entropies are exact, and only positions that both turns have
  are compared. The sum, not a mean, is what the published beta belongs to.
- Their code looks at the turn that ends in the call, before the result, and keeps first entropies in a table that is never cleared. Here it
  is the turn after the result, and a fork is compared with the first turn of its own path.
- The turn after the result is sampled to its end before the decision, and the forks start at the result, not k tokens later. A last turn
  can therefore be branched too. Each result is decided upon once, by the path that received it.
- Paths advance turn by turn together, and decide in the order of their samples, so that arrival never decides who gets the budget.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from spadework.core.seeds import rng
from spadework.rollout.strategy import Drive, Strategy, fresh, running
from spadework.tasks.task import Task
from spadework.trajectories.tree import Node, Trajectory

__all__ = ["Branching", "entropy_jump"]


class Branching(Strategy):
    """Forks after tool results, by entropy. What starts from the root, and the probability, are the papers' own."""

    forks: ClassVar[bool] = True

    alpha: float = Field(default=0.5, ge=0, le=1)
    """Probability of a branch where entropy has not changed; 0.5 is the code's branch probability."""
    beam_size: int = Field(default=2, ge=2)
    """Z: paths that leave a branching point, the one that was there included."""
    tokens: int = Field(default=20, gt=0)
    """k: tokens of a turn whose entropies are compared, at most."""

    @abstractmethod
    async def roots(self, task: Task, num_samples: int, drive: Drive, vocab_size: int) -> list[Trajectory]:
        """The samples that start from the root; driving some of them already is allowed."""

    @abstractmethod
    def probability(self, jump: float, streak: int) -> float:
        """Probability of a branch; certain from 1 on, and impossible up to 0.

        Args:
            jump: of the entropy, see above.
            streak: branchings on this path at the results just before this one, without one in between that did not branch.
        """

    async def sample(self, task: Task, num_samples: int, drive: Drive, *, seed: int, vocab_size: int) -> list[Trajectory]:
        """Make the group of a task (see `Strategy`)."""
        trajectories = await self.roots(task, num_samples, drive, vocab_size)
        streaks = dict.fromkeys(range(num_samples), 0)
        while len(trajectories) < num_samples:
            await drive(running(trajectories), turns=1)
            undecided = [(trajectory, turn) for trajectory in trajectories if (turn := _undecided(trajectory)) is not None]
            if not undecided and not running(trajectories):
                break
            for trajectory, turn in undecided:
                streak = streaks[trajectory.sample]
                turn.meta["entropy_jump"] = jump = entropy_jump(trajectory.path(turn.id), self.tokens, vocab_size)
                draw = rng(seed, "branch", task.id, trajectory.sample, turn.id).random()
                branches = draw < self.probability(jump, streak)
                streaks[trajectory.sample] = streak + 1 if branches else 0
                for sample in range(len(trajectories), min(num_samples, len(trajectories) + (self.beam_size - 1) * branches)):
                    assert turn.parent is not None, "it follows a result"
                    trajectories.append(trajectory.fork(turn.parent, sample))
                    streaks[sample] = streaks[trajectory.sample]
        trajectories += fresh(task, range(len(trajectories), num_samples))
        await drive(running(trajectories))
        return trajectories


def entropy_jump(path: Sequence[Node], tokens: int, vocab_size: int) -> float:
    """By how much the entropy of the last turn of a path exceeds that of its first turn (see the module).

    Args:
        path: from the root to a generation.
        tokens: how many of the first tokens of both are compared, at most.
        vocab_size: number of tokens that there are.
    """
    first = next(node for node in path if node.kind == "generation")
    pairs = list(zip(path[-1].entropies, first.entropies, strict=False))[:tokens]
    return math.fsum(now - before for now, before in pairs) / math.log(vocab_size)


def _undecided(trajectory: Trajectory) -> Node | None:
    """The first turn after a result of the trajectory's own that was not decided upon."""
    for turn in trajectory.generations():
        if turn.parent is not None and "entropy_jump" not in turn.meta:
            result = trajectory.nodes[turn.parent]
            if result.kind == "observation" and result.shared_with is None:
                return turn
    return None
