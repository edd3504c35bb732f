"""ASearcher's reward (arXiv 2508.07976): F1 if every turn is well formed, minus 0.5 for calling a valid question invalid.

Released code finds such a refusal by looking for single words such as `valid` anywhere in the answer, which also hits good answers; here
the answer must say that the question, query or premise is invalid, not valid or inappropriate. Not done here: released code's
10 (r - 0.5), whose shift a group's mean takes away and whose factor is one on the advantage; give the term `weight: 10` for it.
"""

import re
from collections.abc import Sequence

from spadework.rewards.answer import AnswerF1
from spadework.rewards.format import valid
from spadework.rewards.reward import Pair, RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["ASearcher"]

_REFUSAL = re.compile(
    r"\b(question|query|premise)\b[^.;\n]*\b(invalid|inappropriate|not (a )?valid|not appropriate|unanswerable)\b", re.IGNORECASE
)
_REFUSAL_BEFORE = re.compile(r"\b(invalid|inappropriate) (question|query|premise)\b", re.IGNORECASE)


@register("asearcher", formula="{of} [valid] - {refusal} [calls the question invalid]", source="ASearcher, 2508.07976")
class ASearcher(RewardTerm):
    """of * [valid format] - 0.5 [refuses the question]."""

    of: RewardTerm = AnswerF1()
    """The worth of the answer: F1, or a judge."""
    refusal: float = 0.5
    """Price of calling the question invalid."""

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Prepares the answers that will count; a judge is not asked about malformed trajectories."""
        super().prepare([pair for pair in pairs if valid(pair[1])])

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -0.5 and 1."""
        score = self.of(task, trajectory) if valid(trajectory) else 0.0
        answer = trajectory.answer or ""
        return score - self.refusal * bool(_REFUSAL.search(answer) or _REFUSAL_BEFORE.search(answer))
