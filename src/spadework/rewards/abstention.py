"""Calibrated abstention: answering pays exactly if the answer is right with more than a given probability t.

Right 1, an honest "I do not know" 0, wrong -t / (1 - t), so the expected worth of answering is 0 at confidence t (Kalai et al., arXiv
2509.04664). Where the task cannot be answered (`task.meta["answerable"]` is false), abstaining is right and any answer wrong. Running out
of budget without an answer counts as wrong: otherwise it would be the cheapest way to abstain. Not done here: stated probabilities.
"""

from pydantic import Field

from spadework.rewards.answer import ExactMatch
from spadework.rewards.matching import norm_squad
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Abstention"]


@register("abstention", formula="right ({of}): 1, abstains: 0, wrong: -t / (1 - t), t = {confidence}", source="2509.04664")
class Abstention(RewardTerm):
    """1 | 0 for abstaining | -t / (1 - t)."""

    of: RewardTerm = ExactMatch()
    """The answer is right if this is above 0."""
    confidence: float = Field(default=0.5, ge=0, lt=1)
    """t. At 0 a wrong answer costs nothing, as in most published rewards."""
    phrases: tuple[str, ...] = ("i do not know", "i dont know", "unknown", "not found", "cannot be answered", "insufficient evidence")
    """An answer that starts with one of these, after normalisation, abstains."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """1, 0 or -t / (1 - t)."""
        wrong = 0.0 - self.confidence / (1 - self.confidence)
        if trajectory.answer is None:
            return wrong
        said = f"{norm_squad(trajectory.answer)} "
        abstains = any(said.startswith(f"{norm_squad(phrase)} ") for phrase in self.phrases)
        if not task.meta.get("answerable", True):
            return 1.0 if abstains else wrong
        if abstains:
            return 0.0
        return 1.0 if self.of(task, trajectory) > 0 else wrong
