"""Query-focused snippets: the few units of a page that answer the query best, in page order.

A unit is a line, or a sentence of a line that is long prose. Its score is the sum of the idf of the distinct query terms in it. The unit in
which they stand closest together wins a tie, then the shorter, then the earlier one. Units are copied verbatim, one per line, so what a
snippet shows can be quoted and found again in the page.

Headings are not units (they match the title and say nothing). Not done: stitching half sentences around a match, as web search engines do.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from spadework.core.config import Config

__all__ = ["SnippetConfig", "Unit", "best_units", "sentences", "split_units"]

_LONG_LINE = 120
"""Characters from which a line is read as prose and split into sentences."""
_SENTENCE_END = re.compile(r"[.!?][\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]?[^\W_a-z])")
_ABBREVIATION = re.compile(
    r"(?:\b[A-Z]|\b(?:Mr|Mrs|Ms|Dr|St|Sr|Jr|Prof|Gen|Col|Lt|Sgt|Capt|Rev|Hon|Gov|Sen|Rep|No|Vol|Mt|Ft|vs|cf|ca|etc|Inc|Ltd|Co|Corp))$"
)


class SnippetConfig(Config):
    """How much of a page a search result shows."""

    units: int = Field(default=3, ge=1)
    """At most this many lines or sentences."""
    chars: int = Field(default=480, ge=40)
    """At most this many characters; longer units are cut between words."""


class Unit(NamedTuple):
    """A line or sentence with its distinct analysed terms."""

    text: str
    terms: tuple[str, ...]


def sentences(line: str) -> list[str]:
    """Split prose at `.`, `!` or `?` before a capital or a digit, but not after an initial or a usual abbreviation."""
    parts, start = [], 0
    for match in _SENTENCE_END.finditer(line):
        if line[match.start()] == "." and _ABBREVIATION.search(line, start, match.start()):
            continue
        parts.append(line[start : match.end()].strip())
        start = match.end()
    parts.append(line[start:].strip())
    return [part for part in parts if part]


def split_units(text: str, analyse: Callable[[str], list[str]], *, chars: int) -> list[Unit]:
    """The units of a page in page order.

    Args:
        text: the page.
        analyse: text to analysed terms, the same as for queries.
        chars: longer units are cut between words into pieces of at most this many characters.
    """
    units = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        for sentence in sentences(line) if len(line) > _LONG_LINE else (line,):
            for piece in _pieces(sentence, chars):
                units.append(Unit(piece, tuple(dict.fromkeys(analyse(piece)))))
    return units


def _pieces(sentence: str, chars: int) -> list[str]:
    pieces = []
    while len(sentence) > chars:
        cut = sentence.rfind(" ", 1, chars + 1)
        cut = cut if cut > 0 else chars
        pieces.append(sentence[:cut].rstrip())
        sentence = sentence[cut:].lstrip()
    return [*pieces, sentence] if sentence else pieces


def best_units(units: Sequence[Unit], weights: Mapping[str, float], config: SnippetConfig) -> str:
    """The best units for a query, one per line, in page order.

    Units without a query term are left out; a page in which no unit has one (only its title matched) shows its first unit.

    Args:
        units: units of the page, cut to `config.chars`.
        weights: idf of each analysed query term.
        config: how many units and characters.
    """
    ranked = []
    for position, (_, terms) in enumerate(units):
        score, first, last = 0.0, -1, -1
        for place, term in enumerate(terms):
            if term in weights:
                score += weights[term]
                first, last = (place if first < 0 else first), place
        if score:
            ranked.append((-round(score, 6), last - first, len(terms), position))
    if not ranked:
        return units[0].text if units else ""
    ranked.sort()
    chosen, room = [], config.chars
    for *_, position in ranked[: config.units]:
        length = len(units[position].text)
        if length <= room:
            chosen.append(position)
            room -= length + 1
    chosen.sort()
    return "\n".join([units[position].text for position in chosen])
