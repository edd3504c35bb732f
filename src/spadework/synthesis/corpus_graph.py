"""The graph of any corpus, without a model: pages are entities, and a sentence that mentions another page is a statement.

A page is mentioned by its title, by its title without a bracket, by the text of a link that leads to it on some page, or by a link itself;
a name that two pages share is nobody's. A single word counts as a mention only where the page links to its page, or if it is rare: else
"Company" the film would be mentioned by every company. A title with a bracket ("Army (song)") shares its name with other things, so the
name alone counts only where the sentence has a word of the bracket, or one of the two pages links to the other or names it in full, and
never where the words before say that someone or something else of this name is meant ("by Bad News" is the band and not the album).

The relation of a statement is its sentence as plain text, with `{o}` for the mention and `{s}` for the page's own subject (its title, or
the pronoun that opens the sentence; of a person also the first or the last name). Without `{s}` the subject is implied by the page: that
takes a whole sentence that says enough and does not point at another one. A statement has a relation if it has all its telling
words: "directed by {o}" holds of every film of a director, whatever else their sentences say. So what is unique on this graph is unique
among what the pages say in one sentence (`exact` is False). Lists, discographies and pages that tell namesakes apart are not read: what
stands there is about others; neither are old copies of pages, which are no entities. Types and numbers are not known.
"""

import html
import re
from collections.abc import Iterator, Sequence
from functools import cache, cached_property

from spadework.corpus.document import Corpus, Document
from spadework.corpus.index import analyse
from spadework.corpus.ingest import resolve_link
from spadework.corpus.store import content_hash
from spadework.synthesis.names import FOLLOWS, WORD, capital_runs, links_in, plain, prose, unique_titles, untagged
from spadework.synthesis.statements import Statement, is_literal

__all__ = ["CorpusGraph"]

_WORDS = (5, 60)
"""Fewest and most words of a sentence that is read as a statement."""
_LONGEST_NAME = 8
"""Words of a name."""
_FEWEST_TERMS = 6
"""Telling words of a sentence that does not name the page's subject, the page that it mentions included."""
_COMMON = (3, 0.01)
"""A single word that is on more pages than this number, and more than this share of them, is no mention by itself."""
_LONGER = re.compile(r"(?<!^)(?<![.\"] )\b[A-Z]\w* \{s\}|\{s\} [A-Z]")
"""The subject's name as a piece of a longer one."""
_PRONOUN = re.compile(r"^(?:He|She|It|They)\b")
_DEFINED = re.compile(r"^(The )?((?:[A-Z\"][\w.'\u2019\"-]* |(?:of|the|and|de|la|van|von|der) )+)(?=\(|(?:is|was|are|were) )")
"""The subject as the first sentence of a page has it: often a longer form of the title, "Barton Lee Hazlewood (born 1929)"."""
_LIVED = re.compile(r"\((?:[^()]*\b)?(?:born|died)\b|\([^()]*\d{4}\s*[-\u2013]\s*[^()]*\d{4}\)|\bborn (?:on |in )?[A-Z\d]")
"""In the first sentence of a person's page."""
_SEVERAL = re.compile(
    r"^(?:The (?:pair|duo|two|couple|brothers|sisters|latter|former|first|second|third|other)|Both|Neither|These|Those)\b"
)
"""A sentence about more than the page, or about what the sentence before it says."""
_LISTS = re.compile(
    r"^(?:list|lists|index|outline|timeline) of |(?:discography|filmography|bibliography|videography|statistics|\(disambiguation\))$",
    re.IGNORECASE,
)
_OUTDATED = re.compile(r"\((?:archived?|outdated|old version)\b[^()]*\)$", re.IGNORECASE)
"""An old copy of a page. What it says may not be so any more, and its name is that of the current page."""
_CLOSED = re.compile(r"[.!?\u2026][\"'\u201d\u2019)\]]*$")
_SMALL = frozenset(analyse(" ".join(FOLLOWS))) | {"s"}
_OWN = re.compile(r"\{s\}")
_OF_ITSELF = re.compile(r"^(?:The )?\"?\{o\}\"? (?:is|are|was|were) (?:an?|the) (?!.*\{s\})")
"""A sentence that says on a page what another one is."""
_WORK = re.compile(
    r"\((?:[^()]* )?(?:album|ep|song|single|film|movie|soundtrack|series|novel|book|play|opera|musical|game|magazine)\)$", re.IGNORECASE
)
_MAKER = re.compile(
    r"\b(?:by|of|as|band|group|duo|trio|singer|rapper|artist|musician|member|frontman|vocalist|guitarist|drummer|bassist|name|character)"
    r" (?:the )?\"?$"
)
"""Before the name of someone who made a work or is in it: not the work that is called like them."""
_KIND = re.compile(r"\b(album|song|film|novel|book|play|drama|tragedy|opera|musical|game|magazine|series|poem|story) \"?$")
_POINTING = re.compile(r"\b(?:this|that|these|those|same) (?:year|season|tournament|event|edition|time|day)\b", re.IGNORECASE)
_QUOTED = re.compile(r"\"([^\"]*)\"|\u201c([^\u201d]*)\u201d")
_DROPPED = re.compile(r"[{}]|\"\s*\"(?!\w)|</?\w+>|\b(?:and|or|of|by|the|with|as|in) [.,;]")
_HOLES = ((re.compile(r" ?\((?:[,;:\s\[\]]|ISBN)*\)"), ""), (re.compile(r"\([,;:]\s*"), "("), (re.compile(r"\s{2,}"), " "))
"""What is left in a text where an extractor has dropped something: `(ISBN  )`, `(, meaning`."""


class CorpusGraph:
    """The pages of a corpus and the sentences in which they mention each other. Reads every page once."""

    exact = False

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self._titles = {document.id: document.title for document in self._pages()}
        self.entities: Sequence[str] = list(self._titles)
        self._links = {document.id: _linked_pages(document, self._keys) for document in self._pages()}
        self._all_titles = frozenset(name for title in self._titles.values() for name in (title, untagged(title)))
        self._names = unique_titles(self._pages()) | self._anchors()
        self._starts: dict[str, int] = {}
        """The most words of a name by its first word."""
        for name in self._names:
            words = WORD.findall(name)
            if words and len(words) <= _LONGEST_NAME:
                self._starts[words[0]] = max(len(words), self._starts.get(words[0], 0))
        self._aliases: dict[str, list[str]] = {}
        for name, key in self._names.items():
            self._aliases.setdefault(key, []).append(name)
        self._terms = cache(_terms)
        self._out: dict[str, list[Statement]] = {}
        self._in: dict[str, list[Statement]] = {}
        for statement in self._believed([found for document in self._pages() for found in self._read(document)]):
            self._out.setdefault(statement.subject, []).append(statement)
            self._in.setdefault(statement.object, []).append(statement)

    @cached_property
    def source(self) -> str:
        """`corpus-` and the first digits of its hash."""
        return f"corpus-{content_hash(self.corpus)[:12]}"

    def name(self, key: str) -> str:
        """The title without the bracket."""
        return self.names(key)[0]

    def names(self, key: str) -> tuple[str, ...]:
        """The title without the bracket, the title, and the texts of links."""
        if is_literal(key):
            return (key[1:],)
        title = self._titles[key]
        return tuple(dict.fromkeys((untagged(title) or title, title, *self._aliases.get(key, ()))))

    def type(self, key: str) -> str:
        """Not known."""
        return "number" if is_literal(key) else ""

    def outgoing(self, key: str) -> Sequence[Statement]:
        """In the order of the page."""
        return self._out.get(key, ())

    def incoming(self, key: str) -> Sequence[Statement]:
        """In the order of the corpus."""
        return self._in.get(key, ())

    def objects(self, subject: str, relation: str) -> Sequence[str]:
        """In the order of the page."""
        return list(dict.fromkeys(statement.object for statement in self.outgoing(subject) if self._has(statement, relation)))

    def subjects(self, relation: str, object: str) -> Sequence[str]:
        """In the order of the corpus."""
        return list(dict.fromkeys(statement.subject for statement in self.incoming(object) if self._has(statement, relation)))

    def having(self, relation: str) -> Sequence[str]:
        """In the order of the corpus."""
        holding = [self._holding.get(term, frozenset()) for term in self._terms(relation)]
        common = frozenset.intersection(*holding) if holding else frozenset()
        return [key for key in self._out if key in common]

    def between(self, relation: str, low: int, high: int) -> Sequence[str]:
        """None: numbers are not read."""
        return ()

    def of_type(self, type: str, initial: str = "") -> Sequence[str]:
        """None: types are not known."""
        return ()

    def document(self, key: str) -> str:
        """An entity is a page."""
        return "" if is_literal(key) else key

    def located(self, statement: Statement) -> Statement:
        """The statement with the characters of its sentence."""
        same = (one for one in self.outgoing(statement.subject) if one[:3] == statement[:3])
        return next(same, statement)

    def _pages(self) -> Iterator[Document]:
        """The pages, with titles as a reader sees them (`Tunnels &amp; Trolls` is what some extractors leave)."""
        for document in self.corpus:
            if _OUTDATED.search(document.title):
                continue
            yield document.model_copy(update={"title": html.unescape(document.title)}) if "&" in document.title else document

    def _has(self, statement: Statement, relation: str) -> bool:
        """Whether a statement says all that a relation says."""
        return statement.relation == relation or (bool(self._terms(relation)) and self._terms(relation) <= self._terms(statement.relation))

    @cached_property
    def _holding(self) -> dict[str, frozenset[str]]:
        """By telling word: the pages that have it in a statement."""
        holding: dict[str, set[str]] = {}
        for subject, statements in self._out.items():
            for term in {term for statement in statements for term in self._terms(statement.relation)}:
                holding.setdefault(term, set()).add(subject)
        return {term: frozenset(subjects) for term, subjects in holding.items()}

    @cached_property
    def _keys(self) -> dict[str, str]:
        """Page ids by all that a link may say: id, url, title in any case."""
        keys = {document.title.casefold(): document.id for document in self._pages()}
        keys |= {document.url: document.id for document in self._pages() if document.url}
        return keys | {key: key for key in self._titles}

    def _anchors(self) -> dict[str, str]:
        """Texts of links with a capital that lead to one page only and are no title."""
        leads: dict[str, set[str]] = {}
        for document in self._pages():
            for link in links_in(document.text) if "[" in document.text else ():
                if link.name[:1].isupper() and (target := _page(link.target, document, self._keys)):
                    leads.setdefault(link.name, set()).add(target)
        return {name: min(targets) for name, targets in leads.items() if len(targets) == 1 and name not in self._all_titles}

    def _read(self, document: Document) -> Iterator[tuple[Statement, str]]:
        """The statements of a page, each with the name that was found."""
        title = untagged(document.title)
        if _LISTS.search(document.title):
            return
        # A town is called by its name alone on its own page: "Penny, British Columbia".
        own = sorted({document.title, title, title.partition(", ")[0]} - {""}, key=len, reverse=True)
        subject = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, own))})(?!\w)") if own else _PRONOUN
        short: frozenset[str] = frozenset()
        # "Hallelujah! I'm a Bum" was taken for two sentences.
        cut = re.split(r"(?<=[.!?]) ", title.casefold())[1:]
        for number, (start, sentence) in enumerate(prose(document.text)):
            text = _without_holes(plain(sentence))
            if not _WORDS[0] <= len(text.split()) <= _WORDS[1] or not _well_formed(text) or _SEVERAL.match(text):
                continue
            if number == 1 and any(text.casefold().startswith(rest) for rest in cut):
                continue
            if number == 0:
                short = _short_names(text, title) - self._all_titles
            marked, found = subject.subn("{s}", _defined(text, title) if number == 0 else text)
            if short and not _LONGER.search(marked):
                marked = re.sub(r"^(?:He|She)\b", "{s}", _without_short(marked, short), count=1)
            if not found and "{s}" not in marked:
                marked = _PRONOUN.sub("{s}", text, count=1)
                if "{s}" not in marked and not _telling(marked):
                    continue
            elif _LONGER.search(marked) or any(_is_other(document.title, marked[: own.start()]) for own in _OWN.finditer(marked)):
                continue
            for target, spans in self._mentioned(sentence, marked, document).items():
                relation = marked
                for first, last in reversed(spans):
                    relation = f"{relation[:first]}{{o}}{relation[last:]}"
                if _OF_ITSELF.search(relation):
                    continue
                yield Statement(document.id, relation, target, document.id, start, start + len(sentence)), marked[slice(*spans[0])]

    def _mentioned(self, sentence: str, marked: str, document: Document) -> dict[str, list[tuple[int, int]]]:
        """Where a sentence mentions which pages: by links, else by titles, the longest first."""
        found: dict[str, list[tuple[int, int]]] = {}
        for link in links_in(sentence) if "[" in sentence else ():
            target = _page(link.target, document, self._keys)
            if target and target not in (document.id, *found) and (place := marked.find(link.name)) >= 0:
                found[target] = [(place, place + len(link.name))]
        by_link = set(found)
        words = list(WORD.finditer(marked))
        runs = set(capital_runs(marked, words))
        quoted = [found.span(found.lastindex or 0) for found in _QUOTED.finditer(marked)]
        first = 0
        while first < len(words):
            size = min(self._starts.get(words[first][0], 0), len(words) - first)
            while size and not (target := self._names.get(marked[words[first].start() : words[first + size - 1].end()], "")):
                size -= 1
            other = size and target != document.id and target not in by_link
            if other and _whole(marked, words, first, size, runs, linked=target in self._links[document.id]):
                span = words[first].start(), words[first + size - 1].end()
                other_thing = _is_other(self._titles[target], marked[: span[0]])
                if not other_thing and not any(_within(span, whole, marked) for whole in quoted):
                    found.setdefault(target, []).append(span)
            first += max(1, size)
        return found

    def _believed(self, found: list[tuple[Statement, str]]) -> Iterator[Statement]:
        """Mentions without those by a name that is likely to mean something else: a common word, a title without its bracket."""
        pages: dict[str, set[str]] = {}
        for statement, name in found:
            if " " not in name:
                pages.setdefault(name, set()).add(statement.subject)
        most = max(_COMMON[0], _COMMON[1] * len(self.entities))
        both = {(statement.subject, statement.object) for statement, _ in found}
        for statement, name in found:
            subject, target = statement.subject, statement.object
            linked = target in self._links[subject] or subject in self._links[target]
            title = self._titles[target]
            if (target in self._links[subject] or len(pages.get(name, ())) <= most) and (
                linked or (target, subject) in both or name != untagged(title) or name == title or _tells_apart(title, statement.relation)
            ):
                yield statement


def _well_formed(text: str) -> bool:
    """Whether a sentence was cut where it begins and ends; marks of our own must not stand in it."""
    opens = text.lstrip("\"'\u201c\u2018(")[:1]
    closed = text.count("(") == text.count(")") and text.count('"') % 2 == 0
    # Two quotation marks without anything between them, or a tag: an extractor has dropped a title, or left its markup.
    whole = (opens.isupper() or opens.isdigit()) and not re.match(r"\d+, [a-z]", text)
    return whole and closed and not _DROPPED.search(text)


def _telling(sentence: str) -> bool:
    """Whether a sentence that does not name the page's subject says enough to be about it.

    A line of a list may be about anything ("Ann Roe, mayor of Vale" on the page of another Roe), and "Ann Roe won the title this year" fits
    many pages.
    """
    return bool(_CLOSED.search(sentence)) and not _POINTING.search(sentence) and len(set(analyse(sentence))) >= _FEWEST_TERMS


def _terms(relation: str) -> frozenset[str]:
    """Telling words: "has {o} as mentor" says no more than "mentor {o}"."""
    return frozenset(analyse(relation.replace("{s}", " ").replace("{o}", " "))) - _SMALL


def _without_holes(text: str) -> str:
    for hole, filling in _HOLES:
        text = hole.sub(filling, text)
    return text


def _defined(text: str, title: str) -> str:
    """The first sentence of a page, with `{s}` for a longer form of its title at the beginning."""
    found, terms = _DEFINED.match(text), set(analyse(title))
    if found is None or not terms or not terms <= set(analyse(found[2])) or not analyse(found[2].split()[0]):
        return text
    article = "" if title.startswith("The ") else found[1] or ""
    return f"{article}{{s}} {text[found.end(2) :]}"


def _short_names(definition: str, title: str) -> frozenset[str]:
    """First and last name of a person, by the first sentence of the page; nothing for others."""
    words = title.split()
    if len(words) < 2 or not _LIVED.search(definition):
        return frozenset()
    return frozenset(word for word in (words[0], words[-1]) if len(word) > 2 and word.isalpha() and word[0].isupper())


def _without_short(text: str, names: frozenset[str]) -> str:
    """A sentence with `{s}` for those names where they stand alone: Moon, but not in "Cy Moon"."""
    words = list(WORD.finditer(text)) if names else []
    for start, end in reversed(list(capital_runs(text, words))):
        if words[0].start() == start and not analyse(words[0][0]) and end > words[0].end():
            start = words[1].start()  # "With Moon": the first word only begins the sentence
        name = re.sub(r"['\u2019]s$", "", text[start:end])
        if name in names:
            text = f"{text[:start]}{{s}}{text[start + len(name) :]}"
    return text


def _tells_apart(title: str, sentence: str) -> bool:
    """Whether a sentence has a word of the bracket of a title, numbers apart."""
    bracket = title.removeprefix(untagged(title))
    return any(term in analyse(sentence) for term in analyse(bracket) if not term.isdigit())


def _whole(text: str, words: Sequence[re.Match[str]], first: int, size: int, runs: set[tuple[int, int]], *, linked: bool) -> bool:
    """Whether words are a name by themselves, not a piece of a longer one ("Ross Alexander") or an adjective ("the Game award")."""
    start, end = words[first].start(), words[first + size - 1].end()
    if size == 1 and not linked:
        following = re.match(r" ([a-z]+)", text[end:])
        if first == 0 or (following and following[1] not in FOLLOWS and analyse(following[1])):
            return False
    if size == 1:
        return (start, end) in runs
    before, after = words[first - 1] if first else None, words[first + size] if first + size < len(words) else None
    if after and after[0][0].isupper() and text[end : after.start()] == " ":
        return False
    joined = before is not None and before[0][0].isupper() and text[before.end() : start] == " "
    return not joined or (first == 1 and not analyse(words[0][0]))


def _is_other(title: str, before: str) -> bool:
    """Whether the words before the name of a work say that someone or something else of this name is meant."""
    bracket = _WORK.search(title)
    kind = _KIND.search(before)
    return bracket is not None and bool(_MAKER.search(before) or (kind and kind[1] not in bracket[0].casefold()))


def _within(place: tuple[int, int], quoted: tuple[int, int], text: str) -> bool:
    """Whether a name is a piece of what stands in quotation marks ("The Best of Rob Zombie")."""
    if not quoted[0] <= place[0] < quoted[1]:
        return False
    return bool(WORD.search(text, quoted[0], place[0]) or WORD.search(text, place[1], quoted[1]))


def _page(target: str, document: Document, keys: dict[str, str]) -> str:
    """Id of the page that a link leads to; empty if there is none."""
    resolved = resolve_link(target, document.id) or target
    return keys.get(resolved) or keys.get(target) or keys.get(target.casefold(), "")


def _linked_pages(document: Document, keys: dict[str, str]) -> frozenset[str]:
    return frozenset(key for link in document.links if (key := _page(link, document, keys)) and key != document.id)
