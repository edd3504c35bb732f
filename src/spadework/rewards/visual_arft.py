"""Visual-ARFT's reward of steps (arXiv 2505.14246), for tasks whose searches are known: the right kind of act, and how well it is done.

Turn t should search as long as `task.meta["queries"]` has a t-th query, and answer after that. The wrong kind: 0. A search: the similarity
of its query to the expected one, 0 below 0.5. An answer: its F1. A well-formed turn gets the format bonus on top. Similarity is the cosine
of words, where the paper uses embeddings.
"""

from pydantic import Field

from spadework.core.errors import InputError
from spadework.rewards.format import malformed
from spadework.rewards.matching import f1
from spadework.rewards.reward import TurnReward, register
from spadework.rewards.similarity import cosine, word_counts
from spadework.rewards.transcript import TurnRecord, turn_records
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["VisualArft"]


@register(
    "visual-arft",
    formula="wrong kind of act: 0; query: cosine if ≥ {least}; answer: F1; + {format} [well formed]",
    source="Visual-ARFT, 2505.14246",
)
class VisualArft(TurnReward):
    """(0 | similarity of the query | F1 of the answer) + format [well formed]."""

    format: float = Field(default=0.0, ge=0)
    """Bonus of a well-formed turn."""
    least: float = Field(default=0.5, ge=0, le=1)
    """Similarity below this is 0."""

    def __call__(self, task: Task, trajectory: Trajectory) -> list[float]:
        """Between 0 and 1 + format per turn.

        Raises:
            InputError: the task does not say which searches are expected.
        """
        expected = task.meta.get("queries")
        if expected is None:
            raise InputError(f"task {task.id}: meta['queries'] is not set, so the 'visual-arft' reward cannot take effect")
        return [
            self._value(task, turn, expected[index] if index < len(expected) else None) + self.format * (not malformed(turn.node))
            for index, turn in enumerate(turn_records(trajectory))
        ]

    def _value(self, task: Task, turn: TurnRecord, expected: str | None) -> float:
        if expected is None:
            answers = [message.turn.answer for message in turn.node.messages if message.turn is not None]
            return f1(answers[-1], task.answers) if answers and answers[-1] is not None else 0.0
        near = max((cosine(word_counts(call.query), word_counts(expected)) for call in turn.calls), default=0.0)
        return near if near >= self.least else 0.0
