"""What a language model adds to the makers: natural wording, and a judgement. It never decides an answer.

A maker draws a task and words it by a template; `reworded` has a model say the same in natural English. The model sees the template's
question, which names neither the answer nor anything else that is meant without its name, and its wording is checked for the same: what is
not named stays so, what is named and every number is still there. A wording that fails is asked for again with the reason. If it keeps
failing, the template's question stays. `judged` asks whether a question is sound. Both write what they saw into the ledger as a verdict.

The endpoint is asked in batches (`rewards/endpoint.py`: retries, deadline, cache on disk). Tasks are handed on as they come, so that an
endpoint that dies costs nothing that was made before, and with a cache nothing is asked twice when the run goes on. Not done: sampling
several wordings of a question, streaming.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from pydantic import Field, PrivateAttr

from spadework.core.config import Config
from spadework.core.errors import BrokenError, InputError
from spadework.corpus.document import Pages
from spadework.rewards.endpoint import Endpoint
from spadework.rewards.prompt import load_prompt, read_question, read_verdict
from spadework.synthesis.draft import constants
from spadework.synthesis.ledger import Ledger, Verdict, ledger_of, with_verdicts
from spadework.synthesis.statements import Statement, is_literal
from spadework.synthesis.wording import LIST_INSTRUCTION, tells
from spadework.tasks.task import Task

__all__ = ["Model", "NoReply", "evidence_of", "fate", "faults", "judged", "read_soundness", "reworded", "said", "soundness_prompt"]

T = TypeVar("T")
_LONGEST = 1_500
"""Characters of a question."""
_MUTE = "no usable reply"
_STAYS = "the template's wording stays: "
_PAGE = 4_000
"""Characters of an evidence page that a model is shown."""
_ENUMERATION = re.compile(r"\(\d+\) ")


class NoReply(NamedTuple):
    """In place of a reply that could not be used."""

    reason: str


class Model(Config):
    """A model that words and judges."""

    endpoint: Endpoint
    budget: int | None = Field(default=None, ge=1)
    """Most questions to the endpoint, replies of the cache apart. None: no limit."""
    tries: int = Field(default=3, ge=1)
    """Wordings of a question before its template stays."""
    patience: int = Field(default=8, ge=1)
    """Questions in a row without a usable reply after which the endpoint counts as dead."""

    _asked: int = PrivateAttr(default=0)
    _in_vain: int = PrivateAttr(default=0)
    _missed: int = PrivateAttr(default=0)
    _replied: bool = PrivateAttr(default=False)
    _fault: str = PrivateAttr(default="")

    @property
    def asked(self) -> int:
        """Questions that went to the endpoint so far."""
        return self._asked

    @property
    def missed(self) -> int:
        """Questions without a usable reply so far."""
        return self._missed

    @property
    def failing(self) -> bool:
        """Whether the last question had no usable reply: maybe the endpoint is dead, and `patience` has not told yet."""
        return self._in_vain > 0

    @property
    def silent(self) -> str:
        """Why the last question has no usable reply, if no other one has had any; else empty."""
        return "" if self._replied else self._fault

    @property
    def identity(self) -> dict[str, Any]:
        """What its replies depend on; where it is and how patiently it is asked are no part of it."""
        prompts = {name: load_prompt(name).sha256[:12] for name in ("wording", "soundness")}
        return {"name": self.endpoint.model, "max_tokens": self.endpoint.max_tokens, "tries": self.tries, "prompts": prompts}

    def ask(self, prompts: Sequence[str], read: Callable[[str], T]) -> list[T | NoReply]:
        """Ask many questions, as many at once as the endpoint allows: a dead one is found out after a few and not after all.

        Returns:
            For every prompt what `read` made of its reply, or why there is none.

        Raises:
            InputError: the budget is spent, or the server refused the key, the model or the address.
            BrokenError: `patience` questions in a row had no usable reply.
        """
        size = self.endpoint.concurrency
        return [reply for start in range(0, len(prompts), size) for reply in self._ask(prompts[start : start + size], read)]

    def known(self, prompts: Iterable[str], read: Callable[[str], T]) -> dict[str, T]:
        """What the endpoint has replied already to some of the questions, for example before it died in the middle of them."""
        return {prompt: self.endpoint.ask(prompt, read) for prompt in prompts if self.endpoint.knows(prompt)}

    def _ask(self, prompts: Sequence[str], read: Callable[[str], T]) -> list[T | NoReply]:
        new = sum(not self.endpoint.knows(prompt) for prompt in dict.fromkeys(prompts))
        if self.budget is not None and self._asked + new > self.budget:
            raise InputError(
                f"the budget of {self.budget} questions to {self.endpoint.model} is spent; raise `budget`, or keep what there is"
            )
        self._asked += new
        self.endpoint.prefetch(prompts, read)
        found: list[T | NoReply] = []
        for prompt in prompts:
            try:
                found.append(self.endpoint.ask(prompt, read))
                self._in_vain, self._replied = 0, True
            except BrokenError as error:
                self._in_vain, self._missed, self._fault = self._in_vain + 1, self._missed + 1, str(error)
                if self._in_vain >= self.patience:
                    raise BrokenError(f"{self._in_vain} questions in a row without a usable reply; the last: {error}") from None
                found.append(NoReply(str(error)))
        return found


def reworded(tasks: Iterable[Task], model: Model) -> Iterator[Task]:
    """Tasks with questions in a model's words, in their order; their ids and all else stay.

    Args:
        tasks: with ledgers.
        model: words them.

    Raises:
        InputError, BrokenError: see `Model.ask`; what came before is good.
    """
    for batch in _batches(tasks, model.endpoint.concurrency):
        wordings: dict[int, str] = {}
        # A request for a report names what its query describes, for example: no other wording of it can be checked.
        own = {place: faults(task.question, task) for place, task in enumerate(batch)}
        wrong = {place: f"no wording of it can be checked: {fault}" for place, fault in own.items() if fault}
        rest = [place for place in range(len(batch)) if place not in wrong]
        for _ in range(model.tries):
            replies = model.ask([_wording_prompt(batch[place], wrong.get(place, "")) for place in rest], read_question)
            again = []
            for place, reply in zip(rest, replies, strict=True):
                wrong[place] = f"{_MUTE}: {reply.reason}" if isinstance(reply, NoReply) else faults(reply, batch[place])
                if isinstance(reply, NoReply):
                    continue
                if wrong[place]:
                    again.append(place)
                else:
                    wordings[place] = reply
            rest = again
        for place, task in enumerate(batch):
            if place in wordings:
                verdict = Verdict("wording", True, f"worded by {model.endpoint.model}", [task.question])
                yield with_verdicts(task.model_copy(update={"question": wordings[place]}), [verdict])
            else:
                yield with_verdicts(task, [Verdict("wording", False, f"{_STAYS}{wrong[place]}")])


def judged(tasks: Iterable[Task], model: Model) -> Iterator[Task]:
    """Tasks with a verdict `soundness` in the ledger, in their order.

    A task without a usable reply gets none, and neither does a twin without an answer, which no evidence leads to.

    Args, Raises: see `reworded`.
    """
    for batch in _batches(tasks, model.endpoint.concurrency):
        asked = [task for task in batch if task.meta.get("answerable") is not False]
        replies = iter(model.ask([soundness_prompt(task, evidence_of(task)) for task in asked], read_soundness))
        for task in batch:
            reply = next(replies) if task.meta.get("answerable") is not False else NoReply("it has no answer")
            yield task if isinstance(reply, NoReply) else with_verdicts(task, [Verdict("soundness", *reply, [model.endpoint.model])])


def fate(task: Task) -> tuple[bool, list[str]]:
    """What became of a task that was reworded and judged: whether it is kept, and what to count."""
    verdicts = {verdict.gate: verdict for verdict in ledger_of(task).gates}
    wording, soundness = verdicts["wording"], verdicts.get("soundness")
    _, _, fault = wording.reason.partition(_STAYS)
    # Names, numbers and replies differ from task to task, and the reasons are to be counted.
    kind = _MUTE if fault.startswith(_MUTE) else re.sub(r" '.*'|\d+", " ...", fault)
    worded = "worded" if wording.passed else f"in the template's words: {kind}"
    judgement = "not judged" if soundness is None else "sound" if soundness.passed else "unsound, left out"
    return soundness is None or soundness.passed, [worded, judgement]


def faults(question: str, task: Task) -> str:
    """What is wrong with another wording of a task's question; empty if nothing is.

    Args:
        question: the wording.
        task: has the template's question and the ledger.
    """
    ledger = ledger_of(task)
    named = constants(ledger.query)
    meant = [name for key, names in ledger.names.items() if key not in named for name in names]
    if told := tells(question, meant, exact=task.source.startswith("world:")):
        return f"it tells '{told}', which the question does not name"
    for names in _kept_names(ledger):
        if not any(_says(question, name) for name in names):
            return f"the name '{names[0]}' is missing"
    for digits in re.findall(r"\d+", _ENUMERATION.sub("", task.question)):
        if not re.search(rf"(?<!\d){digits}(?!\d)", question) and not any(digits in name for name in meant):
            return f"the number {digits} is missing"
    if len(question) > _LONGEST:
        return f"it has more than {_LONGEST} characters"
    several = LIST_INSTRUCTION in task.question
    return "it does not say that answers are separated by semicolons" if several and "semicolon" not in question.casefold() else ""


def _kept_names(ledger: Ledger) -> list[tuple[str, ...]]:
    """The names of what the query names, the one to use first."""
    return [ledger.names[key] for key in sorted(constants(ledger.query)) if not is_literal(key)]


def _says(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def _wording_prompt(task: Task, fault: str) -> str:
    names = [names[0] for names in _kept_names(ledger_of(task))]
    return load_prompt("wording").fill(question=task.question, names=names, fault=fault or "nothing yet")


def soundness_prompt(task: Task, evidence: Sequence[str]) -> str:
    """The question whether a task is sound, given what its answer rests on."""
    return load_prompt("soundness").fill(question=task.question, answer=task.answers[0], evidence=evidence)


def read_soundness(reply: str) -> tuple[bool, str]:
    """Whether a reply finds a task sound, and its reasons.

    Raises:
        ValueError: there is no verdict.
    """
    return read_verdict(reply, "yes", "no") == "yes", said(reply)


def said(reply: str) -> str:
    """A reply as the reason of a verdict: one line of at most 300 characters."""
    return " ".join(reply.split())[:300]


def evidence_of(task: Task, pages: Pages | None = None) -> list[str]:
    """What the answer of a task rests on, in words: the statements of its ledger, or without a ledger its evidence pages.

    Raises:
        InputError: it has no ledger, and there are no pages or it names none that is there.
    """
    if "ledger" in task.meta or pages is None:
        ledger = ledger_of(task)
        return [_sentence(statement, ledger) for statement in ledger.statements]
    found = [page for key in task.evidence if (page := pages.get(key)) is not None and page.id == key]
    if not found:
        raise InputError(f"task '{task.id}' has no ledger and none of its evidence is among these pages; give its own")
    return [f"{page.title}: {page.text[:_PAGE]}" for page in found]


def _sentence(statement: Statement, ledger: Ledger) -> str:
    """A statement in words."""
    subject, object = (key[1:] if is_literal(key) else ledger.names[key][0] for key in (statement.subject, statement.object))
    if "{o}" not in statement.relation:
        return f"{subject} {statement.relation} {object}"
    about = "" if "{s}" in statement.relation else f"About {subject}: "
    return f"{about}{statement.relation.replace('{s}', subject).replace('{o}', object)}"


def _batches(tasks: Iterable[Task], size: int) -> Iterator[list[Task]]:
    rest = iter(tasks)
    while batch := list(islice(rest, size)):
        yield batch
