"""Names and links in the text of pages: what span tasks and the graph of a document corpus read alike.

Text is Markdown. A name is whatever stands in a link, or the title of a page, which may carry a bracket that tells it apart ("Mercury
(planet)"). Not done: redirects, which documents do not have; languages that do not write names with capitals.
"""

import calendar
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from spadework.corpus.document import Document
from spadework.corpus.index import analyse
from spadework.corpus.snippet import sentences

__all__ = [
    "CALENDAR",
    "FOLLOWS",
    "WORD",
    "Link",
    "capital_runs",
    "links_in",
    "mentions",
    "plain",
    "prose",
    "told",
    "unique_titles",
    "untagged",
]

WORD = re.compile(r"[^\W_](?:[\w'\u2019-]*\w)?")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\(([^()\s]*)(?:\s\"[^\"]*\")?\)|\[\[(?:([^\[\]|]*)\|)?([^\[\]|]*)\]\]")
_MARKUP = re.compile(r"[*`]+|__+")
_TAG = re.compile(r"\s*\([^()]*\)$")


FOLLOWS = frozenset(
    {"who", "whom", "whose", "which", "from", "during", "has", "had", "were", "have", "his", "her", "its", "after", "before", "when"}
    | {"where", "while", "since", "until", "under"}
)
"""With the stop words of the index: words that may follow a name. Another lower-case word means that the name is its adjective."""
_CONNECTORS = frozenset({"of", "the", "and", "de", "la", "van", "von", "der", "for", "in"})
CALENDAR = frozenset({*calendar.month_name[1:], *calendar.day_name})
"""Months and days, which have capitals and name nothing."""


class Link(NamedTuple):
    """A link in a text."""

    start: int
    end: int
    name: str
    """The text that is shown."""
    target: str
    """Path, url or title."""


def untagged(title: str) -> str:
    """A title without the bracket at its end."""
    return _TAG.sub("", title)


def plain(text: str) -> str:
    """Markdown as a reader sees it."""
    return _MARKUP.sub("", _LINK.sub(lambda match: match[1] if match[1] is not None else match[4], text))


def links_in(text: str) -> Iterator[Link]:
    """All links that are no images."""
    for match in _LINK.finditer(text):
        shown = match[1] if match[1] is not None else match[4]
        name = _MARKUP.sub("", shown).strip()
        if name and not match[0].startswith("!"):
            yield Link(match.start(), match.end(), name, match[2] if match[1] is not None else (match[3] or match[4]).strip())


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The sentences of a page, verbatim, and where each one starts. Headings, tables and quotations are left out."""
    position = 0
    for line in text.splitlines(keepends=True):
        if line.strip()[:1] not in ("#", "|", ">", ""):
            start = 0
            for sentence in sentences(line.strip()):
                start = line.index(sentence, start)
                yield position + start, sentence
                start += len(sentence)
        position += len(line)


def capital_runs(sentence: str, words: Sequence[re.Match[str]]) -> Iterator[tuple[int, int]]:
    """Maximal runs of capitalised words, with small words such as `of` between them."""
    i = 0
    while i < len(words):
        if not words[i][0][0].isupper() or words[i][0] in CALENDAR:
            i += 1
            continue
        last = j = i
        while j + 1 < len(words) and _joined(sentence, words[j], words[j + 1]):
            j += 1
            if words[j][0][0].isupper():
                last = j
            elif words[j][0] not in _CONNECTORS:
                break
        yield words[i].start(), words[last].end()
        i = last + 1


def _joined(sentence: str, word: re.Match[str], following: re.Match[str]) -> bool:
    gap = sentence[word.end() : following.start()]
    # A sentence does not end within a sentence: ". " follows an initial or an abbreviation.
    return gap in (" ", ". ", " & ")


def told(text: str, name: str) -> bool:
    """Whether a text has a telling word of a name."""
    return not set(analyse(name)).isdisjoint(analyse(text))


def mentions(text: str, name: str) -> bool:
    """Whether a text has a name, as whole words in any case."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", plain(text), flags=re.IGNORECASE) is not None


def unique_titles(documents: Iterable[Document]) -> dict[str, str]:
    """Page ids by title, with and without the bracket, where no other page has it; only titles with a capital."""
    titles: dict[str, set[str]] = {}
    for document in documents:
        for title in {document.title, untagged(document.title)}:
            titles.setdefault(title, set()).add(document.id)
    return {title: next(iter(ids)) for title, ids in titles.items() if len(ids) == 1 and title[:1].isupper()}
