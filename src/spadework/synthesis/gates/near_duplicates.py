"""Was nearly the same asked before? By the letters of the question (MinHash), and by its answer and evidence.

Two tasks are the same if their questions are alike and name the same names and numbers: questions of one template differ in nothing else,
and are different questions. They are also the same if they have the same answer from the same pages, however they are worded; a count, a
yes or a no says too little for that. The first one is kept. `semantic-duplicates` finds other words for the same.
"""

from typing import ClassVar

from pydantic import Field

from spadework.synthesis.curation.asked import asked
from spadework.synthesis.curation.minhash import MinHashIndex, signature
from spadework.synthesis.gates.gate import Check, Gate, Ground, register
from spadework.synthesis.ledger import Verdict
from spadework.tasks.task import Task

__all__ = ["NearDuplicates"]


@register("near-duplicates", formula="MinHash < {threshold} among the same names; no answer twice from its pages", source="2107.06499")
class NearDuplicates(Gate):
    """No question that is nearly an earlier one."""

    remembers: ClassVar[bool] = True
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Estimated Jaccard similarity of character 5-grams from which on two questions are alike."""

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""
        index = MinHashIndex()
        seen: list[tuple[str, frozenset[str]]] = []
        paths: dict[tuple[str, frozenset[str], str], str] = {}

        def check(task: Task) -> Verdict:
            this = asked(task)
            signed = signature(this.question)
            for number, share in index.similar(signed, self.threshold):
                if seen[number][1] == this.names:
                    return self.drop(f"an earlier question is {share:.2f} alike and has the same names", [seen[number][0]])
            path = (task.source, frozenset(task.evidence), min(this.answers))
            telling = task.evidence and this.telling and not task.answers[0].isdecimal()
            if telling and path in paths:
                return self.drop("an earlier task has the same answer from the same pages", [paths[path]])
            index.add(signed)
            seen.append((task.id, this.names))
            paths.setdefault(path, task.id)
            return self.keep("no earlier task is nearly the same")

        return check
