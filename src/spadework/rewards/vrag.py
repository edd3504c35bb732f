"""VRAG-RL's reward (arXiv 2505.22019), for documents of any kind.

If the format holds, 0.7 answer + 0.1 format + 0.2 nDCG of what was retrieved; else 0. nDCG reads the order in which documents were first
shown, with the evidence of the task as the relevant ones; the ideal order shows all of them first.
"""

import math
from collections.abc import Sequence

from spadework.core.errors import InputError
from spadework.rewards.answer import ExactMatch
from spadework.rewards.format import valid
from spadework.rewards.reward import Pair, RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["RetrievalNDCG", "Vrag"]


@register("ndcg", formula="nDCG of the order in which evidence was shown", source="VRAG-RL, 2505.22019")
class RetrievalNDCG(RewardTerm):
    """sum over evidence at rank r of 1 / log2(r + 1), over the same sum for the ideal order."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1.

        Raises:
            InputError: the task names no evidence.
        """
        if not task.evidence:
            raise InputError(f"task {task.id} names no evidence, so 'ndcg' cannot take effect; remove the term or the task")
        wanted = set(task.evidence)
        shown = dict.fromkeys(document for node in trajectory.nodes for document in node.meta.get("documents", ()))
        gain = sum(1 / math.log2(rank + 1) for rank, document in enumerate(shown, start=1) if document in wanted)
        return gain / sum(1 / math.log2(rank + 1) for rank in range(1, len(wanted) + 1))


@register("vrag", formula="{answer} {of} + {format} + {retrieval} nDCG if valid, else 0", source="VRAG-RL, 2505.22019")
class Vrag(RewardTerm):
    """0 | 0.7 of + 0.1 + 0.2 nDCG."""

    of: RewardTerm = ExactMatch()
    """The worth of the answer; the paper's is a judge."""
    answer: float = 0.7
    format: float = 0.1
    retrieval: float = 0.2

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Prepares the answers that will count; a judge is not asked about malformed trajectories."""
        super().prepare([pair for pair in pairs if valid(pair[1])])

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        if not valid(trajectory):
            return 0.0
        return self.answer * self.of(task, trajectory) + self.format + self.retrieval * RetrievalNDCG()(task, trajectory)
