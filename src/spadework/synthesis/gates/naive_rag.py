"""Does one search with the question itself solve the task? Then it needs no agent (s3 trains on what naive retrieval misses, 2505.14146).

Solved means: BM25 of the question has the last evidence page, the one with the answer, among its first `hits`, and the answer stands in the
snippet that a reader would be given. A string match reads perfectly, so the gate drops rather too much; yes, no and numbers, which
stand everywhere, count as read only together with all the evidence.
"""

from typing import ClassVar

from pydantic import Field

from spadework.synthesis.gates.gate import Check, Gate, Ground, Need, register
from spadework.synthesis.ledger import Verdict
from spadework.synthesis.names import mentions
from spadework.tasks.task import Task

__all__ = ["NaiveRag"]


@register("naive-rag", formula="not: the question's first {hits} hits show the last evidence page and the answer", source="s3, 2505.14146")
class NaiveRag(Gate):
    """One search with the question does not show the answer."""

    needs: ClassVar[tuple[Need, ...]] = ("corpus",)
    hits: int = Field(default=3, gt=0)
    """Results that are read."""

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""
        corpus = ground.corpus
        assert corpus is not None

        def check(task: Task) -> Verdict:
            shown = {hit.id: f"{hit.title}\n{hit.snippet}" for hit in corpus.search(task.question, limit=self.hits)}
            if not task.evidence or task.evidence[-1] not in shown:
                return self.keep("the last evidence page is not found with the question alone", list(shown))
            if task.answers[0].isdecimal() or task.answers[0].casefold() in ("yes", "no"):
                if set(task.evidence) <= shown.keys():
                    return self.drop("all evidence is found with the question alone", task.evidence)
            elif any(mentions(shown[task.evidence[-1]], answer) for answer in task.answers):
                return self.drop("the answer is found with the question alone", [task.evidence[-1]])
            return self.keep("the question alone does not show the answer", list(shown))

        return check
