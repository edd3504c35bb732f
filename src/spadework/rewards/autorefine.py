"""AutoRefine's reward (arXiv 2505.11277): F1, or a little for having distilled the gold from the documents.

F1 if it is above 0; else 0.1 if a gold stands in what the policy wrote between `<refine>` tags; else 0. Released code uses exact match in
place of F1 by default; the paper's is F1.
"""

from spadework.rewards.matching import contains, f1
from spadework.rewards.reward import RewardTerm, register
from spadework.rewards.transcript import tagged
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["AutoRefine"]


@register("autorefine", formula="F1; if 0: {hit} [gold in the refinement]", source="AutoRefine, 2505.11277")
class AutoRefine(RewardTerm):
    """F1 | 0.1 [gold in the refinement] | 0."""

    hit: float = 0.1
    """Worth of a refinement that holds a gold."""
    tag: str = "refine"
    """Name of the tag."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        score = f1(trajectory.answer, task.answers) if trajectory.answer is not None else 0.0
        if score > 0:
            return score
        return self.hit * contains("\n".join(tagged(trajectory, self.tag)), task.answers)
