"""The reading stage: continual pre-training on pages, shaped so that looking things up is learned first.

A sequence shows lines as search results will show them, then asks for each of them: its first words are given and the rest is to be
written, which stands in the results word for word. Every line is asked for twice, because the second time is an easy copy that bootstraps
the skill. Demonstrations alone show two look-ups per trajectory and are far too slow a teacher of it.

It goes from easy to hard in phases: a few short lines of one page until look-up works at all, then lines of several pages, long ones too.

A share `follow` of the sequences practises reading a question. It names up to eight relations, one after the other; facts with these
relations are shown, which have nothing to do with each other and come in any order, and each is to be followed by what follows its
relation in the question. So neither the number of facts nor the end of the question says what comes next, as both do in the chains
that demonstrations show; only reading does, and it holds for chains longer than those.

The form `blanks` is that of a span task from its question to its answer, with any sentence and no search. Half of its sequences also teach
every token of the results that copying predicts, which is most of what they hold and what makes the skill come early.

Small batches matter most: the skill appears after a number of updates, not of tokens (docs/training.md has the measurements). Agentic
continual pre-training before SFT is Tongyi DeepResearch's order (arXiv 2510.24701).
"""

import re
from collections.abc import Sequence
from random import Random
from typing import Literal, Self

from pydantic import Field, model_validator

from spadework.core.config import Config
from spadework.core.errors import InputError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.corpus.document import Document
from spadework.corpus.snippet import sentences
from spadework.models.renderers.renderer import Renderer
from spadework.trajectories.packing import Sample, make_sample

__all__ = ["ReadingPhase", "make_reading_sample"]

_NAME = re.compile(r"(?<![.!?:] )(?<=[ \"(])[A-Z][\w'-]*(?: (?:of|the|and|de) [A-Z][\w'-]*| [A-Z][\w'-]*)*")
_SECOND = 0.25
"""Share of the searches that show the right line second."""
_LONGEST = 8
"""Relations of a question that is practised in reading, at most."""
_PATIENCE = 10_000
"""Draws without anything to read after which the pages count as unfit."""


class ReadingPhase(Config):
    """What the sequences of a part of the stage look like."""

    share: float = Field(default=1.0, gt=0)
    """Of the stage's steps, relative to the other phases."""
    form: Literal["lines", "blanks"] = "lines"
    """lines: results, then each of their lines again. blanks: a question with a blank, a search, results, an answer; of the fields below
    only pages, min_words and max_words count, and the lead."""
    lead: tuple[int, int] = (2, 9)
    """Fewest and most words before a blank."""
    pages: int = Field(default=1, ge=1)
    """Lines come from between one and this many pages."""
    lines_per_page: int = Field(default=100, ge=1)
    """At most this many lines of one page. With 1 every line is about something else, and each of its words follows from the one before."""
    lines: int = Field(default=5, ge=1)
    """At most this many lines are shown and asked for."""
    min_words: int = Field(default=4, ge=2)
    """Shorter lines are left out."""
    max_words: int = Field(default=40, ge=2)
    """Longer lines are left out."""
    sentences: bool = True
    """Also lines that end like a sentence; off, only facts that stand as plain lines."""
    cue_words: int = Field(default=3, ge=1)
    """Words of a line that are given."""
    repeats: int = Field(default=2, ge=1)
    """How often each line is asked for."""
    follow: float = Field(default=0.0, ge=0, le=1)
    """Share of the sequences that practise reading a question; only with `lines`, for pages with lines of subject, relation, object, where
    the relation is the last of the words that are given."""

    @model_validator(mode="after")
    def _follow_takes_effect(self) -> Self:
        if self.follow and self.form != "lines":
            raise ValueError(f"follow has no effect with form '{self.form}'; leave it out, or set form: lines")
        return self


def make_reading_sample(documents: Sequence[Document], renderer: Renderer, phase: ReadingPhase, random: Random) -> Sample:
    """One sequence over random pages.

    Args:
        documents: the pages to draw from.
        renderer: writes results and thoughts as the agent will see and write them.
        phase: the shape.
        random: the stream of this sequence.
    """
    if phase.form == "blanks":
        return _blank(documents, renderer, phase, random)
    if phase.follow and random.random() < phase.follow:
        return _follow(documents, renderer, phase, random)
    lines: list[str] = []
    wanted = phase.pages if phase.lines_per_page == 1 else random.randint(1, phase.pages)
    for _ in range(_PATIENCE):
        if not wanted:
            break
        page = [line.strip() for line in documents[random.randrange(len(documents))].text.splitlines() if _usable(line, phase)]
        if page:
            random.shuffle(page)
            lines += page[: phase.lines_per_page]
            wanted -= 1
    if not lines:
        raise _nothing(f"line of {phase.min_words} to {phase.max_words} words")
    random.shuffle(lines)
    lines = lines[: phase.lines]
    opening = renderer.write(Turn(calls=(ToolCall(name="search", arguments={"query": "?"}),)))
    ids = renderer.extend(opening, [Message(role="tool", content="\n".join(lines))])
    mask = [False] * len(ids)
    for _ in range(phase.repeats):
        random.shuffle(lines)
        for line in lines:
            thought = renderer.thought(line)
            given = _common(thought, renderer.thought(" ".join(line.split()[: phase.cue_words])))
            ids += thought
            mask += [index >= given for index in range(len(thought))]
    return make_sample(ids, mask)


def _follow(documents: Sequence[Document], renderer: Renderer, phase: ReadingPhase, random: Random) -> Sample:
    """A question that names relations one after the other, then a search for a fact of each, in any order, as the expert notes it.

    Learned is the end of every note: what follows the relation in the question, and the query that comes of it. No chain is practised: the
    next search is for another fact.
    """
    facts_only = phase.model_copy(update={"sentences": False})
    facts: dict[str, str] = {}
    wanted = random.randint(1, _LONGEST)
    for _ in range(_PATIENCE):
        page = [line.strip() for line in documents[random.randrange(len(documents))].text.splitlines() if _usable(line, facts_only)]
        if page:
            line = page[random.randrange(len(page))]
            facts.setdefault(line.split()[phase.cue_words - 1], line)
        if len(facts) == wanted:
            break
    else:
        raise _nothing(f"{wanted} lines of {phase.min_words} to {phase.max_words} words about different relations")
    name = " ".join(next(iter(facts.values())).split()[: phase.cue_words - 1])
    said = f"{name}'s {' '.join(facts)}"
    question, end = random.choice(((f"What is {said}?", "?"), (f"Which one is {said}?", "?"), (f"Name {said}.", ".")))
    after = dict(zip(facts, [*list(facts)[1:], ""], strict=True))
    ids = renderer.prompt([Message(role="user", content=question)])
    mask = [False] * len(ids)
    thought, told = "", ""
    for relation in random.sample(list(facts), len(facts)):
        words = facts[relation].split()
        turn = renderer.write(
            Turn(thought=thought, calls=(ToolCall(name="search", arguments={"query": " ".join(words[: phase.cue_words])}),))
        )
        ids += turn
        mask += _between(turn, renderer, told, thought)
        shown = [facts[relation], random.choice(list(facts.values()))]
        if random.random() < _SECOND:
            shown.reverse()
        more = renderer.extend(turn, [Message(role="tool", content="\n".join(dict.fromkeys(shown)))])
        ids += more
        mask += [False] * len(more)
        told, following = f"{facts[relation]} {relation}", after[relation]
        thought = f"{told} {following} {' '.join(words[phase.cue_words :])} {following}" if following else f"{told}{end}"
    turn = renderer.write(Turn(thought=thought, answer="?"))
    return make_sample([*ids, *turn], [*mask, *_between(turn, renderer, told, thought)])


def _between(turn: Sequence[int], renderer: Renderer, told: str, thought: str) -> list[bool]:
    """The tokens of a turn that a longer thought has beyond a shorter one with which it begins."""
    if not thought:
        return [False] * len(turn)
    start, stop = _common(turn, renderer.thought(told)), len(renderer.thought(thought))
    return [start <= index < stop for index in range(len(turn))]


def _blank(documents: Sequence[Document], renderer: Renderer, phase: ReadingPhase, random: Random) -> Sample:
    """A question about a sentence, with the words before the blank as its query, and the sentence up to the name as its answer."""
    fewest, most = phase.lead
    for _ in range(_PATIENCE):
        page, sentence = _sentence(documents, phase, random)
        blanks = [m for m in _NAME.finditer(sentence) if fewest <= len(sentence[: m.start()].split()) <= most and sentence.count(m[0]) == 1]
        if blanks:
            break
    else:
        raise _nothing(f"sentence with a name after {fewest} to {most} words")
    blank = blanks[random.randrange(len(blanks))]
    lead = sentence[: blank.start()].strip()
    results = [_result(page, sentence)]
    for _ in range(random.randint(1, phase.pages) - 1):
        results.append(_result(*_sentence(documents, phase, random)))
    if random.random() < _SECOND:
        results.insert(1, results.pop(0))
    search = renderer.write(Turn(calls=(ToolCall(name="search", arguments={"query": lead}),)))
    parts = [
        renderer.prompt([Message(role="user", content=f"Fill in the blank: {sentence[: blank.start()]}____{sentence[blank.end() :]}")]),
        search,
        renderer.extend(search, [Message(role="tool", content="\n".join(results))]),
        renderer.write(Turn(answer=sentence[: blank.end()])),
    ]
    ids = [token for part in parts for token in part]
    mask = [index % 2 == 1 for index, part in enumerate(parts) for _ in part]
    return make_sample(ids, _with_copies(ids, mask) if random.random() < 0.5 else mask)


def _sentence(documents: Sequence[Document], phase: ReadingPhase, random: Random) -> tuple[Document, str]:
    for _ in range(_PATIENCE):
        page = documents[random.randrange(len(documents))]
        usable = [
            sentence
            for line in page.text.splitlines()
            if not line.startswith(("|", "#"))
            for sentence in sentences(line.strip())
            if phase.min_words <= len(sentence.split()) <= phase.max_words
        ]
        if usable:
            return page, usable[random.randrange(len(usable))]
    raise _nothing(f"sentence of {phase.min_words} to {phase.max_words} words")


def _nothing(what: str) -> InputError:
    return InputError(f"reading: no {what} in {_PATIENCE} draws of pages; widen it in reading.phases, or use other documents")


def _result(page: Document, sentence: str) -> str:
    """As `tools/search.py` writes it."""
    return sentence if sentence.startswith(page.title) else f"{page.title}: {sentence}"


def _with_copies(ids: Sequence[int], mask: Sequence[bool]) -> list[bool]:
    """The mask, and every token that has followed the same two tokens before."""
    followers: dict[tuple[int, int], set[int]] = {}
    wider = list(mask)
    for first, second, third, index in zip(ids, ids[1:], ids[2:], range(2, len(ids)), strict=False):
        known = followers.setdefault((first, second), set())
        wider[index] = wider[index] or third in known
        known.add(third)
    return wider


def _usable(line: str, phase: ReadingPhase) -> bool:
    text = line.strip()
    if text.startswith(("|", "#")) or (text.endswith(".") and not phase.sentences):
        return False
    return max(phase.min_words, phase.cue_words + 1) <= len(text.split()) <= phase.max_words


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next((index for index, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second)))
