"""Is the question one that has a lasting, objective answer? By words that say otherwise (DeepResearcher's low-quality filter, 2504.03160).

    time-sensitive   "current", "latest", "this year", "so far": the answer changes while the page does not
    subjective       "best", "favourite", "should", "beautiful": there is no answer to check

Rules of words are blunt: the "Current River" is no matter of time, so names are left out, and "best-selling" or "Best Actor" is a fact.
The paper asks a model; with an `endpoint` these gates do, and the words are not looked at. Not done: harmful questions, which no list of
words finds.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import PrivateAttr

from spadework.rewards.endpoint import Endpoint
from spadework.rewards.prompt import load_prompt
from spadework.synthesis.gates.asking import Replies
from spadework.synthesis.gates.gate import Check, Gate, Ground, register
from spadework.synthesis.ledger import Verdict
from spadework.synthesis.model import read_soundness
from spadework.tasks.task import Task

__all__ = ["Subjective", "TimeSensitive"]

_TIME = re.compile(
    r"\b(?:current(?:ly)?|latest|nowadays|right now|at the moment|these days|today|to date|so far|as of now|most recent(?:ly)?|recently"
    r"|(?:this|last|next) (?:year|month|week|season)|yesterday|tomorrow|upcoming)\b"
)
_OPINION = re.compile(
    r"\b(?:best(?!-| known| selling)|worst|favou?rite|should|beautiful|most interesting|boring|delicious|do you think|in your opinion"
    r"|better|overrated|underrated|coolest|greatest|worth (?:it|seeing|reading|visiting)|recommend)\b"
)


class _Words(Gate):
    """What both gates do."""

    words: ClassVar[re.Pattern[str]]
    prompt: ClassVar[str]
    fault: ClassVar[str]

    endpoint: Endpoint | None = None
    """Who is asked. None: words decide."""

    _replies: Replies[tuple[bool, str]] | None = PrivateAttr(default=None)

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""
        self._replies = replies = None if self.endpoint is None else Replies(self.endpoint, read_soundness)

        def check(task: Task) -> Verdict:
            if replies is not None:
                passed, reason = replies[self._prompt(task)]
                return self.keep(reason) if passed else self.drop(f"{self.fault}: {reason}")
            found = self.words.search(_small(task.question))
            return self.drop(self.fault, [found[0]]) if found else self.keep("no such word was found")

        return check

    def prepare(self, tasks: Sequence[Task]) -> None:
        """Asks about all of them at once."""
        if self._replies is not None:
            self._replies.ask([self._prompt(task) for task in tasks])

    def _prompt(self, task: Task) -> str:
        return load_prompt(self.prompt).fill(question=task.question)


@register(
    "time-sensitive",
    formula="no word such as current, latest, this year; with an endpoint, a model says that the answer stays",
    source="DeepResearcher, 2504.03160",
)
class TimeSensitive(_Words):
    """The answer does not depend on when it is asked."""

    words: ClassVar[re.Pattern[str]] = _TIME
    prompt: ClassVar[str] = "lasting"
    fault: ClassVar[str] = "the answer depends on the day"


@register(
    "subjective",
    formula="no word such as best, favourite, should; with an endpoint, a model says that it is a matter of fact",
    source="DeepResearcher, 2504.03160",
)
class Subjective(_Words):
    """The answer is not a matter of opinion."""

    words: ClassVar[re.Pattern[str]] = _OPINION
    prompt: ClassVar[str] = "objective"
    fault: ClassVar[str] = "the answer is a matter of opinion"


def _small(question: str) -> str:
    """The question with its first letter small and without words in capitals, which are names."""
    return re.sub(r"\b[A-Z]\w*", "_", question[:1].lower() + question[1:])
