"""Is the question sound? A model says so, from what the answer rests on (the validity check of ASearcher's agent, arXiv 2508.07976).

Sound means that it can be understood, that the evidence leads to the answer, that the answer is not told, and that the model knows no
other one. Evidence are the statements of the ledger, or the pages of a task without one. A twin that has no answer is not judged: nothing
leads to it. Not done: several votes; ASearcher's further question whether a text is two questions in one.
"""

from collections.abc import Sequence

from pydantic import PrivateAttr

from spadework.corpus.document import Pages
from spadework.rewards.endpoint import Endpoint
from spadework.synthesis.gates.asking import Replies
from spadework.synthesis.gates.gate import Check, Gate, Ground, register
from spadework.synthesis.ledger import Verdict
from spadework.synthesis.model import evidence_of, read_soundness, soundness_prompt
from spadework.tasks.task import Task

__all__ = ["Judged"]


@register(
    "judged", formula="a model finds it clear, led to by its evidence, not told, and knows no other answer", source="ASearcher, 2508.07976"
)
class Judged(Gate):
    """A model finds the question sound."""

    endpoint: Endpoint
    """Who judges."""

    _replies: Replies[tuple[bool, str]] = PrivateAttr()
    _pages: Pages | None = PrivateAttr(default=None)

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""
        self._replies, self._pages = Replies(self.endpoint, read_soundness), ground.pages

        def check(task: Task) -> Verdict:
            if task.meta.get("answerable") is False:
                return self.keep("it says that it has no answer, and is not judged")
            sound, reason = self._replies[self._prompt(task)]
            return self.keep(reason, [self.endpoint.model]) if sound else self.drop(reason, [self.endpoint.model])

        return check

    def prepare(self, tasks: Sequence[Task]) -> None:
        """Asks about all of them at once."""
        self._replies.ask([self._prompt(task) for task in tasks if task.meta.get("answerable") is not False])

    def _prompt(self, task: Task) -> str:
        return soundness_prompt(task, evidence_of(task, self._pages))
