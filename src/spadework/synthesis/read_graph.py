"""The graph of a corpus as a model has read it: the claims that stand on their page, as statements that all makers draw from.

A model is not believed. A claim becomes a statement if

- its sentence, or at least four words of it, is a sentence of the page;
- one end is the page, by one of its names or as the pronoun that opens the sentence;
- the other end is another page by a name that only this page has, and the sentence has one of its names. A title without its bracket
  ("Army" for "Army (song)") counts only where `CorpusGraph` believes the mention, or the sentence has a word of the bracket; the whole
  title always does;
- the relation has telling words, and all of them stand in the sentence, names apart.

What does not is dropped and counted by its reason. The relation of a statement is that of the claim between `{s}` and `{o}`.

Makers draw from these statements. Whether an answer is the only one is asked of more: a page also has a relation if one of its sentences
has all telling words of it, be it a sentence of a claim or one that `CorpusGraph` reads. So a rival counts even if the model has
overlooked it, and the questions are in few words, as a model says it. Not done: numbers and things without a page as ends; relations in
other words than the page's.
"""

import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, cached_property

from spadework.corpus.document import Document
from spadework.corpus.index import analyse
from spadework.synthesis.claims import Claim, page_key
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.names import plain, prose, untagged
from spadework.synthesis.statements import Statement

__all__ = ["ReadGraph"]

_FEWEST = 4
"""Words of a piece of a sentence."""
_PRONOUNS = frozenset({"he", "she", "it", "they"})


class ReadGraph:
    """Pages, and the statements that a model has read off them."""

    exact = False

    def __init__(self, graph: CorpusGraph, claims: Mapping[str, Sequence[Claim]]) -> None:
        """Check the claims.

        Args:
            graph: what the pages say without a model.
            claims: by `page_key`.
        """
        self.base = graph
        self.entities: Sequence[str] = graph.entities
        self.dropped: Counter[str] = Counter()
        """Claims that are no statements, by reason."""
        known = set(graph.entities)
        pages = [document for document in graph.corpus if document.id in known]
        self._titles = {document.id: html.unescape(document.title) for document in pages}
        self._called: dict[str, set[str]] = {}
        for key in graph.entities:
            for name in graph.names(key):
                self._called.setdefault(name.casefold(), set()).add(key)
        self._terms = cache(_terms)
        self._said: dict[Statement, frozenset[str]] = {}
        """Telling words of the sentence of each statement."""
        self._out: dict[str, list[Statement]] = {}
        self._in: dict[str, list[Statement]] = {}
        for document in pages:
            for claim in claims.get(page_key(document), ()):
                self._add(document, claim)

    @cached_property
    def source(self) -> str:
        """The source of the corpus, and the first digits of a hash of the statements."""
        said = hashlib.sha256(json.dumps([list(statement) for statement in self._said]).encode()).hexdigest()
        return f"{self.base.source}-read-{said[:8]}"

    @property
    def statements(self) -> Sequence[Statement]:
        """All of them."""
        return list(self._said)

    def name(self, key: str) -> str:
        """See `CorpusGraph`."""
        return self.base.name(key)

    def names(self, key: str) -> tuple[str, ...]:
        """See `CorpusGraph`."""
        return self.base.names(key)

    def type(self, key: str) -> str:
        """Not known."""
        return self.base.type(key)

    def outgoing(self, key: str) -> Sequence[Statement]:
        """Those that were read, in the order of the reading."""
        return self._out.get(key, ())

    def incoming(self, key: str) -> Sequence[Statement]:
        """Those that were read, in the order of the corpus."""
        return self._in.get(key, ())

    def objects(self, subject: str, relation: str) -> Sequence[str]:
        """Read ones first, then what the page says besides."""
        read = [statement.object for statement in self.outgoing(subject) if self._has(statement, relation)]
        return list(dict.fromkeys([*read, *self.base.objects(subject, relation)]))

    def subjects(self, relation: str, object: str) -> Sequence[str]:
        """Read ones first, then what the pages say besides."""
        read = [statement.subject for statement in self.incoming(object) if self._has(statement, relation)]
        return list(dict.fromkeys([*read, *self.base.subjects(relation, object)]))

    def having(self, relation: str) -> Sequence[str]:
        """Read ones first, then what the pages say besides."""
        holding = [self._holding.get(term, frozenset()) for term in self._terms(relation)]
        common = frozenset.intersection(*holding) if holding else frozenset()
        return list(dict.fromkeys([*(key for key in self._out if key in common), *self.base.having(relation)]))

    def between(self, relation: str, low: int, high: int) -> Sequence[str]:
        """None: numbers are not read."""
        return self.base.between(relation, low, high)

    def of_type(self, type: str, initial: str = "") -> Sequence[str]:
        """None: types are not known."""
        return self.base.of_type(type, initial)

    def document(self, key: str) -> str:
        """An entity is a page."""
        return self.base.document(key)

    def located(self, statement: Statement) -> Statement:
        """The statement with the characters of a sentence that says it."""
        subject, relation, object = statement[:3]
        read = [one for one in self.outgoing(subject) if one.object == object and self._has(one, relation)]
        more = [one for one in self.base.outgoing(subject) if one.object == object and self._terms(relation) <= self._terms(one.relation)]
        exact = [one for one in read if one.relation == relation]
        found = next(iter([*exact, *read, *more]), statement)
        return statement._replace(start=found.start, end=found.end)

    def _has(self, statement: Statement, relation: str) -> bool:
        """Whether a statement, or the sentence behind it, says all that a relation says."""
        return statement.relation == relation or self._terms(relation) <= self._said[statement]

    @cached_property
    def _holding(self) -> dict[str, frozenset[str]]:
        """By telling word: the pages that have it in the sentence of a statement."""
        holding: dict[str, set[str]] = {}
        for statement, terms in self._said.items():
            for term in terms:
                holding.setdefault(term, set()).add(statement.subject)
        return {term: frozenset(subjects) for term, subjects in holding.items()}

    def _add(self, document: Document, claim: Claim) -> None:
        found = self._grounded(document, claim)
        if isinstance(found, str):
            self.dropped[found] += 1
            return
        statement, terms = found
        if any(statement[:3] == one[:3] for one in self._out.get(statement.subject, ())):
            self.dropped["it is said already"] += 1
            return
        self._said[statement] = terms
        self._out.setdefault(statement.subject, []).append(statement)
        self._in.setdefault(statement.object, []).append(statement)

    def _grounded(self, document: Document, claim: Claim) -> tuple[Statement, frozenset[str]] | str:
        """The statement of a claim with the telling words of its sentence, or why it is none."""
        claim = Claim(*map(html.unescape, claim))
        place = _place(claim.sentence, document)
        if place is None:
            return "the sentence is not on the page"
        start, sentence = place
        own = [self._is(document, end, sentence) for end in (claim.subject, claim.object)]
        if own[0] == own[1]:
            return "neither end is the page" if not own[0] else "both ends are the page"
        other = claim.object if own[0] else claim.subject
        (target, *more) = self._called.get(other.casefold(), {""})
        if more or not target or target == document.id:
            return "the other end is no page"
        if not (name := next((name for name in self._longest(target) if _stands(name, sentence)), "")):
            return "the other end is not in the sentence"
        if not self._meant(document.id, target, other, sentence):
            return "the other end may be something else of that name"
        rest = plain(html.unescape(sentence))
        for known in (name, *self._longest(document.id)):
            rest = re.sub(rf"(?<!\w){re.escape(known)}(?!\w)", " ", rest)
        relation, terms = self._terms(claim.relation), self._terms(rest)
        if not relation or not relation <= terms or re.search(r"[{}]", claim.relation):
            return "the relation is not in the sentence"
        first, last = ("{s}", "{o}") if own[0] else ("{o}", "{s}")
        words = f"{first} {claim.relation.rstrip('.')} {last}."
        return Statement(document.id, words, target, document.id, start, start + len(sentence)), terms

    def _is(self, document: Document, end: str, sentence: str) -> bool:
        """Whether an end of a claim is the page."""
        pronoun = end.casefold() in _PRONOUNS and sentence.casefold().startswith(f"{end.casefold()} ")
        return pronoun or end.casefold() in map(str.casefold, self.base.names(document.id))

    def _meant(self, page: str, target: str, said: str, sentence: str) -> bool:
        """Whether a name means this page and not another thing without one."""
        title = self._titles[target]
        if title == untagged(title) or said.casefold() == title.casefold():
            return True
        bracket = [term for term in analyse(title.removeprefix(untagged(title))) if not term.isdigit()]
        return any(term in analyse(sentence) for term in bracket) or any(one.object == target for one in self.base.outgoing(page))

    def _longest(self, key: str) -> Sequence[str]:
        """The names of a page, the longest first."""
        return sorted(self.base.names(key), key=lambda name: (-len(name), name))


def _place(claimed: str, document: Document) -> tuple[int, str] | None:
    """Where the sentence of a claim stands on its page, and the whole sentence there as it stands."""
    wanted = _flat(claimed)
    found = [(start, sentence) for start, sentence in prose(document.text) if wanted in _flat(sentence)]
    if len(wanted.split()) >= _FEWEST and found:
        return next((place for place in found if _flat(place[1]) == wanted), found[0])
    return next((place for place in found if _flat(place[1]) == wanted), None)


def _flat(text: str) -> str:
    return " ".join(plain(html.unescape(text)).casefold().split())


def _stands(name: str, sentence: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", plain(html.unescape(sentence))) is not None


def _terms(text: str) -> frozenset[str]:
    return frozenset(analyse(text.replace("{s}", " ").replace("{o}", " ")))
