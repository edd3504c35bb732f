"""O2-Searcher's reward for open questions (arXiv 2505.16582): format, key findings, and queries that differ from each other.

(format + F1 of the findings + 0.5 diversity) / 5, released code's weights. Diversity of n queries is the mean of 1 - similarity over
pairs, times a weight of their number: 0.5 up to 5 queries, then 0.05 more for each up to 15, then 0.9 - 0.02 for each above; one query: 0.
Similarity is the cosine of words, where the paper uses embeddings; released code also shortens the score of queries below eight tokens,
which is left out.
"""

from pydantic import Field

from spadework.rewards.format import valid
from spadework.rewards.reward import RewardTerm, register
from spadework.rewards.sets import SetF1
from spadework.rewards.similarity import cosine, word_counts
from spadework.rewards.transcript import queries
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Diversity", "O2Searcher"]


@register(
    "diversity", formula="mean dissimilarity of the first {most} queries * a weight of their number", source="O2-Searcher, 2505.16582"
)
class Diversity(RewardTerm):
    """Mean dissimilarity of the queries, weighted by their number."""

    tool: str = "search"
    """Whose queries are read."""
    most: int = Field(default=20, ge=2)
    """Only so many queries count, the first ones."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1."""
        asked = [word_counts(query) for query in queries(trajectory, self.tool)[: self.most]]
        count = len(asked)
        if count < 2:
            return 0.0
        apart = [1 - cosine(first, second) for index, first in enumerate(asked) for second in asked[:index]]
        weight = 0.5 if count <= 5 else 0.5 + 0.05 * (count - 5) if count <= 15 else 0.9 - 0.02 * (count - 15)
        return weight * sum(apart) / len(apart)


@register("o2-searcher", formula="(valid + findings F1 + 0.5 diversity) / 5", source="O2-Searcher, 2505.16582")
class O2Searcher(Diversity):
    """(format + findings F1 + 0.5 diversity) / 5."""

    threshold: float = Field(default=0.75, gt=0, le=1)
    """Token F1 from which two findings are the same."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 0.5."""
        findings = SetF1(threshold=self.threshold)(task, trajectory)
        return (valid(trajectory) + findings + 0.5 * super().__call__(task, trajectory)) / 5
