"""R-Search's reward (arXiv 2506.04185): the answer, and what a frozen model can answer from the evidence that the policy quotes.

F1(answer) + F1(answer of a frozen reader who sees the question and the text between `<original_evidence>` tags) + 0.2 for the format of the
answer + 0.2 for that of the evidence. Without an endpoint the reader is a rule: it answers the gold if the evidence holds it, else nothing.
"""

from collections.abc import Sequence

from pydantic import Field

from spadework.rewards.endpoint import Endpoint
from spadework.rewards.format import valid
from spadework.rewards.matching import contains, f1
from spadework.rewards.prompt import load_prompt, read_answer
from spadework.rewards.reward import Pair, RewardTerm, register
from spadework.rewards.transcript import tagged
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["EvidenceF1", "RSearch"]


@register("evidence-f1", formula="F1 of a frozen reader that sees only the quoted evidence", source="R-Search, 2506.04185")
class EvidenceF1(RewardTerm):
    """F1 of the frozen reader's answer; 0 without evidence."""

    reader: Endpoint | None = None
    """The frozen model; none: the rule."""
    tag: str = "original_evidence"
    """Tag of the evidence that the policy quotes."""

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Asks the reader for all trajectories at once."""
        if self.reader:
            self.reader.prefetch([self._fill(task, text) for task, t in pairs if (text := self._evidence(t))], read_answer)

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1.

        Raises:
            BrokenError: the reader gave no answer.
        """
        evidence = self._evidence(trajectory)
        if not evidence:
            return 0.0
        if self.reader is None:
            return contains(evidence, task.answers)
        return f1(self.reader.ask(self._fill(task, evidence), read_answer), task.answers)

    def _evidence(self, trajectory: Trajectory) -> str:
        return "\n".join(filter(None, tagged(trajectory, self.tag)))

    def _fill(self, task: Task, evidence: str) -> str:
        return load_prompt("reader").fill(question=task.question, evidence=evidence)


@register(
    "r-search", formula="F1 + evidence F1 + {answer_format} [valid] + {evidence_format} [evidence quoted]", source="R-Search, 2506.04185"
)
class RSearch(EvidenceF1):
    """F1 + evidence F1 + 0.2 [valid format] + 0.2 [there is evidence]."""

    answer_format: float = Field(default=0.2, ge=0)
    evidence_format: float = Field(default=0.2, ge=0)

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 2.4."""
        answer = f1(trajectory.answer, task.answers) if trajectory.answer is not None else 0.0
        formats = self.answer_format * valid(trajectory) + self.evidence_format * bool(self._evidence(trajectory))
        return answer + super().__call__(task, trajectory) + formats
