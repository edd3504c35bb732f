"""s3's Gain Beyond RAG (arXiv 2505.14146): how much better the answer is than what naive retrieval gives.

Acc(answer from what the agent found) - Acc(answer from naive retrieval). The answer is the trajectory's, which a frozen summariser may have
written. The baseline of a task is computed once and kept: in `task.meta["rag_reward"]`, or in a JSON file {task id: number}. Released code
pays 2 Acc - baseline by default; this is the paper's difference.
"""

import json
from functools import lru_cache
from pathlib import Path

from spadework.core.errors import InputError
from spadework.rewards.answer import Contains
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["GainBeyondRAG"]


@register("s3", formula="{of} - the same of naive retrieval", source="s3, 2505.14146")
class GainBeyondRAG(RewardTerm):
    """of(trajectory) - baseline(task)."""

    of: RewardTerm = Contains()
    """The accuracy; the paper's is a span match or a judge."""
    baselines: Path | None = None
    """JSON file {task id: accuracy of naive retrieval}; none: `task.meta["rag_reward"]`."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -1 and 1.

        Raises:
            InputError: the task has no baseline.
        """
        return self.of(task, trajectory) - self._baseline(task)

    def _baseline(self, task: Task) -> float:
        found = _load(self.baselines).get(task.id) if self.baselines else task.meta.get("rag_reward")
        if not isinstance(found, int | float):
            where = f"{self.baselines} has no number for it" if self.baselines else "meta['rag_reward'] is not set"
            raise InputError(f"task {task.id} has no baseline of naive retrieval ({where}); measure it once, or remove the 's3' reward")
        return float(found)


@lru_cache(maxsize=4)
def _load(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected {{task id: number}}, found a {type(found).__name__}")
    return found
