"""The reading stage: continual pre-training on pages, shaped so that looking things up is learned first.

A sequence shows search results as the agent will see them, then asks for many of their lines: the beginning of a line is given and the rest is to be
written, which stands in the results word for word. Every line is asked for twice, because the second time is an easy copy that bootstraps
the skill: asking once left one-hop success at 0.48 after 7.4 M tokens, asking twice gave 0.80 after 2.2 M. Demonstrations alone show two look-ups per
trajectory and are far too slow a teacher of it. Agentic continual pre-training before SFT is Tongyi DeepResearch's order (arXiv 2510.24701).
"""

from collections.abc import Sequence
from random import Random

from pydantic import Field

from spadework.core.config import Config
from spadework.core.messages import Message, ToolCall, Turn
from spadework.corpus.document import Document
from spadework.models.renderers.renderer import Renderer
from spadework.trajectories.packing import Sample, make_sample

__all__ = ["ReadingConfig", "make_reading_sample"]


class ReadingConfig(Config):
    """What a sequence of the reading stage looks like."""

    pages: int = Field(default=3, ge=1)
    """At most this many pages are shown; between one and this many."""
    lines: int = Field(default=10, ge=1)
    """At most this many of their lines are shown and asked for."""
    repeats: int = Field(default=2, ge=1)
    """How often each line is asked for."""
    cue_words: int = Field(default=4, ge=1)
    """Words of a line that are given, when it has no colon; the text up to a colon is given otherwise."""


def make_reading_sample(documents: Sequence[Document], renderer: Renderer, config: ReadingConfig, random: Random) -> Sample:
    """One sequence over random pages.

    Args:
        documents: the pages to draw from.
        renderer: writes results and thoughts as the agent will see and write them.
        config: the shape.
        random: the stream of this sequence.
    """
    lines: list[str] = []
    for _ in range(random.randint(1, config.pages)):
        units = [line.strip() for line in documents[random.randrange(len(documents))].text.splitlines() if _usable(line)]
        lines += units
    random.shuffle(lines)
    lines = lines[: config.lines]
    opening = renderer.write(Turn(calls=(ToolCall(name="search", arguments={"query": "?"}),)))
    ids = renderer.extend(opening, [Message(role="tool", content="\n".join(lines))])
    mask = [False] * len(ids)
    for _ in range(config.repeats):
        random.shuffle(lines)
        for line in lines:
            cue = _cue(line, config.cue_words)
            thought = renderer.thought(line)
            given = len(renderer.thought(cue)) - 1
            ids += thought
            mask += [given <= index < len(thought) for index in range(len(thought))]
    return make_sample(ids, mask)


def _usable(line: str) -> bool:
    text = line.strip()
    return len(text.split()) >= 3 and not text.startswith(("|", "#"))


def _cue(line: str, words: int) -> str:
    head, colon, rest = line.partition(": ")
    if colon and rest:
        return f"{head}:"
    return " ".join(line.split()[: min(words, len(line.split()) - 1)])
