"""Is the question one that has a lasting, objective answer? By words that say otherwise (DeepResearcher's low-quality filter, 2504.03160).

    time-sensitive   "current", "latest", "this year", "so far": the answer changes while the page does not
    subjective       "best", "favourite", "should", "beautiful": there is no answer to check

Rules of words are blunt: the "Current River" is no matter of time, so names are left out, and "best-selling" or "Best Actor" is a fact. The
paper asks a model; not done here are harmful questions, which no list of words finds.
"""

import re

from spadework.synthesis.gates.gate import Check, Gate, Ground, register
from spadework.synthesis.ledger import Verdict
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


@register("time-sensitive", formula="no word such as current, latest, this year", source="DeepResearcher, 2504.03160")
class TimeSensitive(Gate):
    """The answer does not depend on when it is asked."""

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""

        def check(task: Task) -> Verdict:
            found = _TIME.search(_small(task.question))
            return self.drop("the answer depends on the day", [found[0]]) if found else self.keep("no word of time was found")

        return check


@register("subjective", formula="no word such as best, favourite, should", source="DeepResearcher, 2504.03160")
class Subjective(Gate):
    """The answer is not a matter of opinion."""

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""

        def check(task: Task) -> Verdict:
            found = _OPINION.search(_small(task.question))
            return self.drop("the answer is a matter of opinion", [found[0]]) if found else self.keep("no word of opinion was found")

        return check


def _small(question: str) -> str:
    """The question with its first letter small and without words in capitals, which are names."""
    return re.sub(r"\b[A-Z]\w*", "_", question[:1].lower() + question[1:])
