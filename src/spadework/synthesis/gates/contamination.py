"""Is the task, in these words or in others, a question of an evaluation set?

A task is contaminated if, with some question of the sets, it

- has a run of `ngram` words in common, or the whole question where that is shorter (GPT-3's rule is 13, arXiv 2005.14165, appendix C);
- has the same answer, and at least `kept` of the names and numbers of the shorter question, or of its telling words if it names nothing;
- has the same names and numbers, the same entity path: of three words or more whatever the answer, of two with the same answer;
- has the same answer from the same pages of the same source.

A yes or a no is no answer by which to know a question. Paraphrases that rename their entities ("the capital of France" for "Paris") are not
found: that takes a model.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from spadework.core.errors import InputError
from spadework.synthesis.curation.asked import Asked, asked
from spadework.synthesis.gates.gate import Check, Gate, Ground, register
from spadework.synthesis.ledger import Verdict
from spadework.tasks.dataset import read_tasks
from spadework.tasks.task import Task

__all__ = ["Contamination", "read_benchmark"]

_PATH = 2
"""Words of names that make an entity path if the answer is the same too; one more makes it alone."""


@register(
    "contamination",
    formula="no run of {ngram} words, no answer with {kept} of the names, no entity path and no evidence of an evaluation question",
    source="2005.14165; Spadework",
)
class Contamination(Gate):
    """No question of an evaluation set."""

    against: tuple[Path, ...] = Field(min_length=1)
    """Task files, or `.json` lists of questions; a set is called by the name of its file."""
    ngram: int = Field(default=8, gt=0)
    """Words in a row that no task may share with them."""
    kept: float = Field(default=0.5, gt=0, le=1)
    """Share of names that a paraphrase keeps at least."""

    def open(self, ground: Ground) -> Check:
        """See `Gate`.

        Raises:
            InputError: a file cannot be read.
        """
        index = _Index(self.ngram, self.kept)
        for path in self.against:
            for task in read_benchmark(path):
                index.add(task, f"{path.stem}:{task.id}")

        def check(task: Task) -> Verdict:
            found = index.find(task)
            if found is None:
                return self.keep(f"none of {len(index.asked)} questions of {', '.join(path.stem for path in self.against)}")
            return self.drop(*found)

        return check


class _Index:
    """Evaluation questions by what they can be known by."""

    def __init__(self, ngram: int, kept: float) -> None:
        self.ngram, self.kept = ngram, kept
        self.asked: list[Asked] = []
        self.keys: list[str] = []
        self.runs: dict[str, int] = {}
        self.answers: dict[str, list[int]] = {}
        self.names: dict[str, list[int]] = {}
        self.paths: dict[tuple[str, frozenset[str]], list[int]] = {}

    def add(self, task: Task, key: str) -> None:
        this, number = asked(task), len(self.asked)
        self.asked.append(this)
        self.keys.append(key)
        for run in self._runs(this.question):
            self.runs.setdefault(run, number)
        for answer in this.telling:
            self.answers.setdefault(answer, []).append(number)
        for word in this.names:
            self.names.setdefault(word, []).append(number)
        if task.evidence:
            self.paths.setdefault((task.source, frozenset(task.evidence)), []).append(number)

    def find(self, task: Task) -> tuple[str, Sequence[str]] | None:
        """Why a task is contaminated, and by which question."""
        this = asked(task)
        for run in self._runs(this.question):
            if (number := self.runs.get(run)) is not None:
                return "words in a row are those of an evaluation question", [self.keys[number], run]
        for number in (number for answer in sorted(this.telling) for number in self.answers.get(answer, ())):
            if self._paraphrase(this, self.asked[number]):
                return "the answer and the names are those of an evaluation question", [self.keys[number]]
        for number in self._sharing(this.names):
            other = self.asked[number]
            if this.names == other.names and (len(this.names) > _PATH or this.answers & other.answers):
                return "the names are those of an evaluation question", [self.keys[number]]
        for number in self.paths.get((task.source, frozenset(task.evidence)), ()) if task.evidence else ():
            if this.answers & self.asked[number].answers:
                return "the answer and the evidence are those of an evaluation question", [self.keys[number]]
        return None

    def _runs(self, question: str) -> Iterator[str]:
        words = question.split()
        size = min(self.ngram, len(words))
        # A short question is looked for as a whole, and a mark keeps it from being found inside a longer one.
        mark = "" if len(words) >= self.ngram else "= "
        return (mark + " ".join(words[start : start + size]) for start in range(len(words) - size + 1) if size)

    def _paraphrase(self, one: Asked, other: Asked) -> bool:
        if one.names and other.names:
            return len(one.names & other.names) >= self.kept * min(len(one.names), len(other.names))
        if one.names or other.names:
            return False
        return len(one.words & other.words) >= self.kept * min(len(one.words), len(other.words))

    def _sharing(self, names: frozenset[str]) -> Iterable[int]:
        """Questions with the rarest of the names."""
        if len(names) < _PATH or any(word not in self.names for word in names):
            return ()
        return min((self.names[word] for word in names), key=len)


def read_benchmark(path: Path) -> list[Task]:
    """The questions of an evaluation set: a task file (`tasks/dataset.py`), or a `.json` list of objects with a question and an answer.

    Raises:
        InputError: the file is missing or something else.
    """
    if path.suffix != ".json":
        return read_tasks(path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(rows, list):
        raise InputError(f"{path}: expected a list of questions, found {type(rows).__name__}")
    return [_from_row(row, f"{path}, entry {number}", number) for number, row in enumerate(rows)]


def _from_row(row: Any, place: str, number: int) -> Task:
    values = {str(key).casefold(): value for key, value in row.items()} if isinstance(row, dict) else {}
    question, answer = values.get("question"), values.get("answers", values.get("answer"))
    answers = [answer] if isinstance(answer, str) else answer
    if not isinstance(question, str) or not isinstance(answers, list) or not answers or not all(isinstance(one, str) for one in answers):
        raise InputError(f"{place}: no question with an answer; an entry needs the keys 'question' and 'answer'")
    return Task(id=str(values.get("id", number)), question=question, answers=tuple(answers), kind="qa")
