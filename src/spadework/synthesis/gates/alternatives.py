"""Is there another answer on the pages, or one that a model thinks of? What a page means beyond its words no graph tells.

Candidates are the pages that a search with the question finds, evidence and answer apart, and what a model without tools answers, if that
is wrong: ASearcher checks every wrong answer for being another right one (arXiv 2508.07976). For each candidate a model is shown the
question, the answer with what it rests on, and what pages say of the candidate, and says whether it is a second answer. One is enough to
drop the task.

Answers that are a number, a yes or a no, or have several parts, have no rivals that could be looked up: such tasks are kept as they are,
and so are those that say that they have none. On a world `uniqueness` is exact and needs no model. Not done: candidates that neither the
search nor the model comes upon.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from pydantic import Field, PrivateAttr

from spadework.corpus.document import Corpus
from spadework.rewards.endpoint import Endpoint
from spadework.rewards.matching import norm_squad
from spadework.rewards.prompt import load_prompt, read_answer, read_verdict
from spadework.synthesis.gates.asking import Replies
from spadework.synthesis.gates.closed_book import closed_book_prompt, knows
from spadework.synthesis.gates.gate import Check, Gate, Ground, Need, register
from spadework.synthesis.ledger import Verdict
from spadework.synthesis.model import evidence_of, said
from spadework.tasks.task import Task

__all__ = ["Alternatives"]

_PASSAGES = 2
"""Pages that are shown about what a model thought of."""
_NOTHING = frozenset({"", "unknown", "i dont know", "none", "na"})
"""Answers that are no candidates, in SQuAD's normal form."""


class _Rival(NamedTuple):
    name: str
    prompt: str


@register(
    "alternatives",
    formula="neither the question's first {hits} other hits nor a model's own wrong answer fits as well, says a model",
    source="ASearcher, 2508.07976",
)
class Alternatives(Gate):
    """A model finds no second answer among the candidates."""

    needs: ClassVar[tuple[Need, ...]] = ("corpus",)
    endpoint: Endpoint
    """Who judges, and who guesses."""
    hits: int = Field(default=3, ge=0)
    """Pages that are candidates."""

    _corpus: Corpus | None = PrivateAttr(default=None)
    _guesses: Replies[str] = PrivateAttr()
    _verdicts: Replies[tuple[bool, str]] = PrivateAttr()
    _rivals: dict[str, list[_Rival]] = PrivateAttr(default_factory=dict)

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""
        self._corpus = ground.corpus
        self._guesses, self._verdicts = Replies(self.endpoint, read_answer), Replies(self.endpoint, _fits)

        def check(task: Task) -> Verdict:
            if not _single(task):
                return self.keep("an answer of this form has no rivals that could be looked up")
            rivals = self._rivals[task.id]
            for rival in rivals:
                if (found := self._verdicts.get(rival.prompt)) and found[0]:
                    return self.drop(f"another answer fits: {found[1]}", [rival.name])
            _ = self._guesses[closed_book_prompt(task)], [self._verdicts[rival.prompt] for rival in rivals]
            return self.keep(f"{len(rivals)} candidates do not fit", [rival.name for rival in rivals])

        return check

    def prepare(self, tasks: Sequence[Task]) -> None:
        """Asks for guesses at all of them, and then about all candidates."""
        single = [task for task in tasks if _single(task)]
        self._verdicts.dead = self._guesses.dead = self._guesses.dead or self._verdicts.dead
        self._guesses.ask([closed_book_prompt(task) for task in single])
        self._verdicts.dead = self._guesses.dead
        self._rivals = {task.id: self._candidates(task) for task in single}
        self._verdicts.ask([rival.prompt for rivals in self._rivals.values() for rival in rivals])

    def _candidates(self, task: Task) -> list[_Rival]:
        assert self._corpus is not None
        gold = {norm_squad(answer) for answer in task.answers}
        found: dict[str, list[str]] = {}
        # Some of the hits are evidence, and one is the answer.
        for hit in self._corpus.search(task.question, limit=self.hits + len(task.evidence) + 1):
            if hit.id not in task.evidence and norm_squad(hit.title) not in gold and len(found) < self.hits:
                found[hit.title] = [f"{hit.title}: {hit.snippet}"]
        guess = self._guesses.get(closed_book_prompt(task)) or ""
        if norm_squad(guess) not in _NOTHING and not knows(guess, task) and guess not in found:
            hits = self._corpus.search(f"{guess} {task.question}", limit=_PASSAGES)
            found[guess] = [f"{hit.title}: {hit.snippet}" for hit in hits]
        evidence = evidence_of(task, self._corpus)
        shared = {"question": task.question, "answer": task.answers[0], "evidence": evidence}
        return [
            _Rival(name, load_prompt("alternative").fill(**shared, candidate=name, passages=passages)) for name, passages in found.items()
        ]


def _single(task: Task) -> bool:
    """Whether the answer is one thing that has a name."""
    plain = task.answers[0].isdecimal() or task.answers[0].casefold() in ("yes", "no")
    return not plain and len(task.meta.get("items", ())) < 2 and task.meta.get("answerable") is not False


def _fits(reply: str) -> tuple[bool, str]:
    return read_verdict(reply, "yes", "no") == "yes", said(reply)
