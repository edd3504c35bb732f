"""Does an earlier question mean the same? By the cosine similarity of sentence vectors (SemDeDup, arXiv 2303.09540).

Needs the extra `dense` and a model. All earlier questions are compared, so the time grows with the square of their number: 10,000 questions
of 384 numbers are compared with the next one in about 2 ms. Questions with different names or numbers are different questions, because
vectors hardly tell them apart.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field, PrivateAttr

from spadework.synthesis.curation.asked import name_words
from spadework.synthesis.gates.gate import Check, Gate, Ground, register
from spadework.synthesis.ledger import Verdict
from spadework.tasks.task import Task

if TYPE_CHECKING:
    from spadework.corpus.encoder import Encoder, Vectors

__all__ = ["SemanticDuplicates"]


@register("semantic-duplicates", formula="cosine of sentence vectors < {threshold} among the same names", source="SemDeDup, 2303.09540")
class SemanticDuplicates(Gate):
    """No question that means what an earlier one means."""

    remembers: ClassVar[bool] = True
    model: str
    """Name of a sentence-transformers model, or a folder."""
    threshold: float = Field(default=0.9, gt=0, le=1)
    """Cosine similarity from which on two questions mean the same."""

    _vectors: "dict[str, Vectors]" = PrivateAttr(default_factory=dict)

    def prepare(self, tasks: Sequence[Task]) -> None:
        """Encodes all questions at once."""
        self._vectors.clear()
        if tasks:
            self._vectors.update(zip((task.id for task in tasks), self._encoder.queries([task.question for task in tasks]), strict=True))

    def open(self, ground: Ground) -> Check:
        """See `Gate`.

        Raises:
            InputError: the extra is missing, or the model cannot be loaded.
        """
        rows: list[Vectors] = []
        seen: list[tuple[str, frozenset[str]]] = []
        _ = self._encoder  # now, and not after the first batch of other gates

        def check(task: Task) -> Verdict:
            vector, names = self._vectors[task.id], name_words(task.question)
            alike = [number for number, (_, other) in enumerate(seen) if other == names]
            if alike:
                cosines = np.stack([rows[number] for number in alike]) @ vector
                best = int(cosines.argmax())
                if cosines[best] >= self.threshold:
                    return self.drop(f"an earlier question has cosine {cosines[best]:.2f} and the same names", [seen[alike[best]][0]])
            rows.append(vector)
            seen.append((task.id, names))
            return self.keep("no earlier question means the same")

        return check

    @cached_property
    def _encoder(self) -> "Encoder":
        from spadework.corpus.sentence import SentenceEncoder

        return SentenceEncoder(self.model)
