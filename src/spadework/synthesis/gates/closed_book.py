"""Does a model know the answer without looking anything up? Then the task teaches it not to search.

A model without tools answers `attempts` times, by sampling with seeds 0, 1, ...; if one of its answers has the gold one, the task is
dropped: DeepResearcher drops what is in any of 10 samples (arXiv 2504.03160), ASearcher goes on editing until none of 8 is right
(2508.07976). Ask the policy that is to be trained, or something stronger. An answer has the gold one if it names it; a yes, a no and a
number must be all of it, and of an answer with several parts all parts must be named. A yes-or-no question is guessed by anybody in ten
attempts, and so it is dropped.

A later attempt is made only at what is not known yet. A task that lacks one of its attempts stays undecided. Trajectories of a policy
without tools serve as well: `tool-aided` reads them.
"""

from collections.abc import Sequence

from pydantic import Field, PrivateAttr

from spadework.rewards.endpoint import Endpoint
from spadework.rewards.matching import em
from spadework.rewards.prompt import load_prompt, read_answer
from spadework.synthesis.gates.asking import Replies
from spadework.synthesis.gates.gate import Check, Gate, Ground, register
from spadework.synthesis.ledger import Verdict
from spadework.synthesis.names import mentions
from spadework.tasks.task import Task

__all__ = ["ClosedBook", "closed_book_prompt", "knows"]


@register(
    "closed-book",
    formula="none of {attempts} answers without tools has the gold one",
    source="DeepResearcher, 2504.03160; ASearcher, 2508.07976",
)
class ClosedBook(Gate):
    """A model does not know the answer."""

    endpoint: Endpoint
    """Who is asked. Its temperature and seed are those of the gate."""
    attempts: int = Field(default=10, ge=1)
    """Samples per question."""
    temperature: float = Field(default=1.0, ge=0)
    """Of the samples."""

    _samples: list[Replies[str]] = PrivateAttr(default_factory=list)
    _known: dict[str, tuple[int, str]] = PrivateAttr(default_factory=dict)

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""
        values = self.endpoint.model_dump()
        sampled = [Endpoint(**{**values, "temperature": self.temperature, "seed": seed}) for seed in range(self.attempts)]
        self._samples = [Replies(endpoint, read_answer) for endpoint in sampled]

        def check(task: Task) -> Verdict:
            if task.meta.get("answerable") is False:
                return self.keep("it says that it has no answer that could be known")
            if task.id in self._known:
                number, answer = self._known[task.id]
                return self.drop(f"known without looking it up, at attempt {number}", [answer])
            answers = [replies[closed_book_prompt(task)] for replies in self._samples]
            return self.keep(f"not known in {len(answers)} attempts", sorted(set(answers)))

        return check

    def prepare(self, tasks: Sequence[Task]) -> None:
        """Makes one attempt at all of them after the other, each at those that are not known yet."""
        self._known.clear()
        left = [task for task in tasks if task.meta.get("answerable") is not False]
        dead = next((replies.dead for replies in self._samples if replies.dead), "")
        for number, replies in enumerate(self._samples, start=1):
            replies.dead = replies.dead or dead
            replies.ask([closed_book_prompt(task) for task in left])
            answers = {task.id: replies.get(closed_book_prompt(task)) for task in left}
            self._known |= {task.id: (number, answer) for task in left if (answer := answers[task.id]) and knows(answer, task)}
            left = [task for task in left if task.id not in self._known]
            dead = replies.dead


def closed_book_prompt(task: Task) -> str:
    """The question as it is put to a model without tools."""
    return load_prompt("closed_book").fill(question=task.question)


def knows(answer: str, task: Task) -> bool:
    """Whether an answer has the gold one, or all parts of it."""
    items = task.meta.get("items", ())
    if len(items) > 1:
        return all(any(mentions(answer, name) for name in item) for item in items)
    exact = task.answers[0].isdecimal() or task.answers[0].casefold() in ("yes", "no")
    return bool(em(answer, task.answers)) if exact else any(mentions(answer, name) for name in task.answers)
