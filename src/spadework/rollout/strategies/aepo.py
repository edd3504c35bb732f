"""AEPO's entropy-balanced rollout (arXiv 2510.14545): ARPO's, with a split of the budget that fits the task, and fewer branches in a row.

- *Pre-monitoring*: one trajectory is sampled first. Of k samples, m = floor(k sigmoid(beta (H_root - mean H_tool))) + 1, at most k, start
  from the root, and the others branch: where tool results make the policy less sure than the question does, more of them branch.
- *Penalty*: the probability of a branch is (alpha + gamma * jump) (1 - penalty * l), where l counts the branchings in a row on the path.

H_root - mean H_tool is minus the mean jump of the first trajectory's results (`rollout/branching.py`), 0 if it has none. It is a sample
like the others and is branched like them; the code samples it in addition and throws it away, and takes the mean over all its turns. The
paper leaves the penalty's function open. The code's, 0.05 per branching in a row, multiplies a draw that is compared with 0.5; here it
multiplies the probability, as in the paper, and l belongs to the path, not to the task. beta, the split's rounding and gamma are the
code's too. The published script leaves the split off; `arpo` is a rollout without both.
"""

import math

from pydantic import Field

from spadework.rollout.branching import Branching, entropy_jump
from spadework.rollout.strategy import Drive, fresh, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["AEPO"]


@register(
    "aepo",
    formula="1 + k sigmoid({beta} (H_root - mean H_tool)) of k samples from the root; after a result a path forks into {beam_size} with "
    "probability ({alpha} + {gamma} * jump of entropy over {tokens} tokens) (1 - {penalty} l)",
    source="AEPO, arXiv 2510.14545",
)
class AEPO(Branching):
    """The first sample says how many start from the root; branching again right after a branching is less likely."""

    gamma: float = Field(default=0.2, ge=0)
    """Weight of the jump in the probability of a branch."""
    beta: float = Field(default=0.5, ge=0)
    """Sensitivity of the split to the entropy's difference."""
    penalty: float = Field(default=0.05, ge=0)
    """By how much each branching in a row lowers the probability of the next."""

    async def roots(self, task: Task, num_samples: int, drive: Drive, vocab_size: int) -> list[Trajectory]:
        """The pre-monitored trajectory and the m - 1 others (see `Branching`)."""
        [first] = monitored = fresh(task, range(1))
        await drive(monitored)
        results = [turn for turn in first.generations() if turn.parent is not None and first.nodes[turn.parent].kind == "observation"]
        jumps = [entropy_jump(first.path(turn.id), self.tokens, vocab_size) for turn in results]
        others = fresh(task, range(1, self.split(math.fsum(jumps) / max(1, len(jumps)), num_samples)))
        # Then they decide on a result in the same round as the first does.
        await drive(others, turns=1)
        return monitored + others

    def split(self, jump: float, num_samples: int) -> int:
        """How many samples start from the root, given the mean jump after results."""
        return min(num_samples, math.floor(num_samples / (1 + math.exp(self.beta * jump))) + 1)

    def probability(self, jump: float, streak: int) -> float:
        """See the module."""
        return (self.alpha + self.gamma * jump) * max(0.0, 1 - self.penalty * streak)
