"""Invariant 9: every task can be solved, and only by its answer.

The gold answer and each of its aliases score 1, every evidence document exists, the answer of a look-up task can be read on its evidence
pages, and a wrong answer scores less. The scorer is handed in, so that a task is checked against the reward that it will be trained with.
"""

import re
from collections.abc import Callable, Iterable

from spadework.corpus.document import Document, Pages
from spadework.tasks.task import Task

__all__ = ["validate"]

_READ_FROM_EVIDENCE = frozenset({"chain", "span"})
"""Kinds whose answer stands on an evidence page; counts and comparisons are computed."""
_WRONG = ("", "Zzyzx Qwortle")
"""Answers that nothing asks for: silence and an invented name."""


def validate(task: Task, corpus: Pages, score: Callable[[str, Iterable[str]], float]) -> list[str]:
    """What is wrong with a task; empty if nothing is.

    Args:
        task: the task.
        corpus: where its evidence must be.
        score: (prediction, gold answers) to a number that is 1 for a right answer.
    """
    problems = [f"gold answer '{answer}' scores {value:g}, not 1" for answer in task.answers if (value := score(answer, task.answers)) != 1]
    problems += [f"wrong answer '{wrong}' scores {value:g}" for wrong in _WRONG if (value := score(wrong, task.answers)) >= 1]
    if not task.question.strip():
        problems.append("the question is empty")

    pages: list[Document] = []
    for key in task.evidence:
        document = corpus.get(key)
        if document is None or document.id != key:
            problems.append(f"evidence '{key}' is not in the corpus")
        else:
            pages.append(document)
    if task.kind in _READ_FROM_EVIDENCE:
        if not task.evidence:
            problems.append(f"a {task.kind} task needs evidence")
        elif not any(_stands_in(answer, page) for answer in task.answers for page in pages):
            problems.append(f"answer '{task.answers[0]}' stands on no evidence page")
    return problems


def _stands_in(answer: str, page: Document) -> bool:
    return f" {_words(answer)} " in f" {_words(page.title)} {_words(page.text)} "


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
