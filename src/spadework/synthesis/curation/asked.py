"""What two questions must have in common to be the same: the names and numbers in them, their answer, their telling words.

Names are read off capitals, word by word, so that it does not matter where a name begins and ends. A first word counts only if no question
or sentence usually begins with it. Not done: languages without capitals; names that a paraphrase translates or abbreviates.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from spadework.corpus.index import analyse
from spadework.rewards.matching import norm_squad
from spadework.synthesis.names import WORD
from spadework.tasks.task import Task

__all__ = ["Asked", "asked", "name_words"]

_OPENERS = (
    "a about according after all although among an and another any are as at because before between both but by can "
    "considering could did do does during each either find for from give given had has have he her his how i if in into is "
    "it its known list many may more most my name of on one or other our over please regarding she should since some such "
    "suppose tell than that the their there these they this those through to under until was we were what whatever when "
    "where whether which while who whom whose why will with within would you your"
)
"""With a capital at the beginning of a question, and no names."""
_NO_NAMES = frozenset(_OPENERS.split())
_PLAIN = frozenset({"yes", "no"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as curation compares it."""

    question: str
    """In SQuAD's normal form."""
    answers: frozenset[str]
    """So are they."""
    names: frozenset[str]
    """Words of names, and numbers."""
    words: frozenset[str]
    """Analysed words."""

    @property
    def telling(self) -> frozenset[str]:
        """Answers by which a question can be known: no yes or no and nothing empty."""
        return self.answers - _PLAIN - {""}


def asked(task: Task) -> Asked:
    """What is compared of a task."""
    return Asked(
        norm_squad(task.question), frozenset(map(norm_squad, task.answers)), name_words(task.question), frozenset(analyse(task.question))
    )


def name_words(text: str) -> frozenset[str]:
    """Words of names and numbers in a text, in lower case, without a genitive's s."""
    return frozenset(_named(text))


def _named(text: str) -> Iterable[str]:
    for found in WORD.finditer(text):
        word = found[0]
        if not (word[0].isupper() or any(sign.isdigit() for sign in word)):
            continue
        bare = word.replace("\u2019", "'").casefold().removesuffix("'s")
        if bare not in _NO_NAMES:
            yield bare
