"""Search-R1's reward with format tiers (v0.3; arXiv 2505.15117).

Correct: 1, or 1 - structure if a turn was malformed. Wrong: `structure` if the format is valid, plus `retrieval` if a result held a gold;
else `answer` if there is an answer, else 0. The study finds the format helpful and the retrieval bonus useless, so that one is 0 by
default. The first version's reward is `em`.
"""

from pydantic import Field

from spadework.rewards.format import valid
from spadework.rewards.matching import contains, em
from spadework.rewards.reward import RewardTerm, register
from spadework.rewards.transcript import shown_texts
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["SearchR1"]


@register(
    "search-r1",
    formula="right: 1, if not valid 1 - {structure}; wrong: {structure} if valid (+ {retrieval} if gold shown), else {answer} if answered",
    source="Search-R1 v0.3, 2505.15117",
)
class SearchR1(RewardTerm):
    """1 / 1 - structure / structure (+ retrieval) / answer / 0."""

    structure: float = Field(default=0.2, ge=0)
    """Worth of a valid format."""
    retrieval: float = Field(default=0.0, ge=0)
    """Worth of having been shown a gold, for wrong answers of valid format."""
    answer: float = Field(default=0.1, ge=0)
    """Worth of a wrong answer after a malformed turn."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        well_formed = valid(trajectory)
        if trajectory.answer is not None and em(trajectory.answer, task.answers):
            return 1.0 if well_formed else 1.0 - self.structure
        if well_formed:
            shown = any(contains(text, task.answers) for text in shown_texts(trajectory)) if self.retrieval else False
            return self.structure + self.retrieval * shown
        return self.answer if trajectory.answer is not None else 0.0
