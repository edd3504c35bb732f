"""R1-Searcher's two stages (arXiv 2503.05592) and R1-Searcher++'s group bonus (arXiv 2505.17005).

Stage 1 teaches to search: 0.5 for a retrieval and 0.5 for the format. Stage 2 pays F1 and takes 2 for a malformed trajectory. Released
code of stage 1 also scores the answer; of stage 2 it counts long answers as malformed, and takes 1 from Llama models. Here it is as in the
papers. In ++ the correct members of a group that searched least get min(2 s^2, 2), with s the standard deviation of the searches of the
correct members (divisor n; which one is meant was not found), beside `cem` and a `format-penalty` of 2.
"""

from collections.abc import Sequence
from statistics import pvariance

from pydantic import Field

from spadework.rewards.answer import CoverMatch
from spadework.rewards.format import valid
from spadework.rewards.matching import f1
from spadework.rewards.reward import GroupReward, RewardTerm, register
from spadework.rewards.transcript import num_calls
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["R1SearcherBonus", "R1SearcherOne", "R1SearcherTwo"]


@register("r1-searcher-1", formula="0.5 [n > 0] + 0.5 [valid]", source="R1-Searcher stage 1, 2503.05592")
class R1SearcherOne(RewardTerm):
    """0.5 [at least one retrieval] + 0.5 [valid format]."""

    tools: tuple[str, ...] = ("search",)
    """Calls of these count as retrievals; none: all calls."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """0, 0.5 or 1."""
        return 0.5 * (num_calls(trajectory, self.tools) > 0) + 0.5 * valid(trajectory)


@register("r1-searcher-2", formula="F1 - {penalty} [not valid]", source="R1-Searcher stage 2, 2503.05592")
class R1SearcherTwo(RewardTerm):
    """F1 of the answer, minus 2 if the format is not valid."""

    penalty: float = Field(default=2.0, ge=0)

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -penalty and 1."""
        score = f1(trajectory.answer, task.answers) if trajectory.answer is not None else 0.0
        return score if valid(trajectory) else score - self.penalty


@register(
    "r1-searcher-pp",
    formula="min(2 s², {most}) for the correct ({correct}) with the fewest searches, else 0; s the deviation of n over the correct",
    source="R1-Searcher++, 2505.17005",
)
class R1SearcherBonus(GroupReward):
    """min(2 s^2, most) for the correct members with the fewest searches; 0 for the others."""

    correct: RewardTerm = CoverMatch()
    """A member is correct if this is above 0."""
    most: float = Field(default=2.0, gt=0)
    """Largest bonus (the paper's eta)."""
    tools: tuple[str, ...] = ("search",)
    """Calls of these count as searches; none: all calls."""

    def __call__(self, task: Task, trajectories: Sequence[Trajectory]) -> list[float]:
        """Between 0 and `most` per member."""
        searches = [num_calls(trajectory, self.tools) for trajectory in trajectories]
        right = [self.correct(task, trajectory) > 0 for trajectory in trajectories]
        counts = [count for count, good in zip(searches, right, strict=True) if good]
        if not counts:
            return [0.0] * len(trajectories)
        bonus = min(2 * float(pvariance(counts)), self.most)
        return [bonus if good and count == min(counts) else 0.0 for count, good in zip(searches, right, strict=True)]
