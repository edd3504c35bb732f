"""Look-up tasks from any corpus, without a language model: a name is blanked in a sentence, and the page must be found to fill it in.

One hop: a sentence of page A with a name blanked. The rest of the sentence must lead BM25 to A (first five hits), and the name must not be
told by it. Two hops: the name B blanked in a sentence of A is the title of another page, and a name is blanked in a sentence of B's page,
which is cut there and calls its subject "that entity". B's page must not be found with the question alone, and A must not tell the answer.

Pages are split by a hash of their id: both evidence pages of a task are of its split, so no page serves in two splits. Steps for the
scripted expert are recorded, and a ledger: the sentence is the relation, the page its subject, the name its object; a name that is no page
has the id `name:` with the name behind it. Not done: dates and numbers, languages that do not capitalise names, judging whether a question
is natural.
"""

import hashlib
import math
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Literal, NamedTuple, get_args

from spadework.core.errors import InputError
from spadework.core.seeds import derive_seed, rng
from spadework.corpus.document import Corpus, Document
from spadework.corpus.index import analyse
from spadework.corpus.store import content_hash
from spadework.rewards.matching import em
from spadework.synthesis.ledger import Edit, Ledger, dump_ledger
from spadework.synthesis.names import CALENDAR, FOLLOWS, WORD, capital_runs, links_in, mentions, plain, prose, told, unique_titles, untagged
from spadework.synthesis.query import Query, Triple, Variable
from spadework.synthesis.statements import Statement
from spadework.tasks.task import Task
from spadework.tasks.validate import validate

__all__ = ["BLANK", "INSTRUCTION", "Lead", "SpanPages", "Split", "make_spans", "page_split", "page_tasks", "span_tasks"]

Split = Literal["train", "dev", "test"]

BLANK = "____"
INSTRUCTION = "Fill in the blank: "
"""Stands before a one-hop question."""
_DEPTH = 5
"""A page counts as found when it is among so many first hits."""
_LEAD_DEPTH = 2
"""The same for questions with a lead."""
_QUOTE_WORDS = 25
_WORDS = (8, 45)
"""Fewest and most words of a sentence that is asked about."""
_FEWEST_TERMS = 5
"""Distinct analysed terms that must be left beside the blank."""
_CLAUSE_WORDS = (7, 3)
"""Words kept before the blank in the second sentence of a two-hop question: the most that do not identify its page."""
_COMMON = 0.01
"""A single word on more than this share of the pages is no name worth asking for (American, Company)."""
_QUERY_WORDS = (6, 5, 4, 3)
_QUERY_TRIES = 6

_ENTITY = "that entity"
_ADJECTIVE = re.compile(r"\b(?:a|an)\s+\W*$", re.IGNORECASE)
"""Before a blank: what follows is likely an adjective (a Venezuelan chef)."""
_ODD = re.compile(r"[^\w\s,.'\u2019-]")
_SUBJECT = re.compile(r"^(?:It|He|She|They)\b")


class Lead(NamedTuple):
    """Fewest and most words that stand before a blank.

    Questions with a lead are made for policies that copy: the words before the blank find the page by themselves, nothing but them has to
    be searched for, and an answer may repeat them up to the name.
    """

    fewest: int
    most: int


@dataclass(frozen=True, slots=True)
class _Blank:
    """A name in a sentence of a page."""

    page: Document
    sentence: str
    start: int
    end: int
    name: str
    target: str | None
    """Id of the page that has the name as its title."""

    @property
    def question(self) -> str:
        """The sentence without the name, as plain text."""
        return f"{self.before}{BLANK}{self.after}"

    @property
    def before(self) -> str:
        """Plain text before the name."""
        return plain(self.sentence[: self.start])

    @property
    def after(self) -> str:
        """Plain text after the name."""
        return plain(self.sentence[self.end :])

    @property
    def quote(self) -> str:
        """Verbatim fragment that ends with the name, or goes on after it where too little stands before."""
        words = [match.start() for match in re.finditer(r"\S+", self.sentence[: self.start])]
        left = words[-(_QUOTE_WORDS - 5) :]
        start = left[0] if left else self.start
        if len(left) >= 5:
            return self.sentence[start : self.end]
        right = [match.end() for match in re.finditer(r"\S+", self.sentence[self.end :])][: 12 - len(left)]
        return self.sentence[start : self.end + (right[-1] if right else 0)]


class SpanPages:
    """A corpus as span making sees it: titles that name one page, and how rare terms are."""

    def __init__(self, corpus: Corpus) -> None:
        """Read every page once."""
        self.corpus = corpus
        self.documents = {document.id: document for document in corpus}
        self.frequency: Counter[str] = Counter()
        for document in self.documents.values():
            self.frequency.update(set(analyse(f"{document.title}\n{document.text}")))
        self.titles = unique_titles(self.documents.values())

    @cached_property
    def source(self) -> str:
        """Name of the corpus for task provenance."""
        return f"corpus-{content_hash(self.documents.values())[:12]}"

    def rarity(self, text: str) -> float:
        """Sum of the idf of the distinct terms of a text."""
        return sum(math.log(1 + len(self.documents) / (0.5 + self.frequency[term])) for term in set(analyse(text)))

    def finds(self, query: str, key: str, depth: int = _DEPTH) -> bool:
        """Whether a query finds a page."""
        return any(hit.id == key for hit in self.corpus.search(query, limit=depth))

    def common(self, word: str) -> bool:
        """Whether a single word is on too many pages to be a name worth asking for."""
        limit = max(3, _COMMON * len(self.documents))
        return any(self.frequency[term] > limit for term in analyse(word))


def page_split(key: str) -> Split:
    """The split of a page: 60 % train, 20 % dev, 20 % test, by a hash of its id.

    Two-hop tasks need both pages in the same split, so small shares would leave the held-out splits without any.
    """
    place = derive_seed("span split", key) % 10
    return "train" if place < 6 else "dev" if place < 8 else "test"


def make_spans(corpus: Corpus, *, seed: int, counts: Mapping[int, int], split: Split) -> list[Task]:
    """Make span tasks.

    Args:
        corpus: where to make them from.
        seed: the same seed gives the same tasks.
        counts: number of tasks by number of hops, 1 or 2.
        split: train, dev or test.

    Returns:
        Valid tasks with different questions, fewer hops first.

    Raises:
        InputError: another split or number of hops, or the corpus gives fewer tasks than wanted; says how many.
    """
    if split not in get_args(Split):
        raise InputError(f"split '{split}' is not one of {', '.join(get_args(Split))}")
    for hops in counts:
        if hops not in (1, 2):
            raise InputError(f"span tasks have 1 or 2 hops, not {hops}")
    pages = SpanPages(corpus)
    tasks: list[Task] = []
    for hops, wanted in sorted(counts.items()):
        made = [task for _, task in zip(range(wanted), _tasks(pages, seed=seed, split=split, hops=hops), strict=False)]
        if len(made) < wanted:
            raise InputError(f"the corpus gives {len(made)} {hops}-hop span tasks for split '{split}', {wanted} are wanted")
        tasks += made
    return tasks


def span_tasks(corpus: Corpus, *, seed: int, split: Split, hops: Literal[1, 2], lead: Lead | None = None) -> Iterator[Task]:
    """All span tasks of a split in random order: every page serves once before one serves twice.

    Args:
        corpus: where to make them from.
        seed: the same seed gives the same tasks.
        split: train, dev or test.
        hops: 1 or 2.
        lead: make one-hop questions with such a lead only.

    Raises:
        InputError: a lead for two hops.
    """
    if lead is not None and hops != 1:
        raise InputError(f"span tasks with a lead have 1 hop, not {hops}")
    return _tasks(SpanPages(corpus), seed=seed, split=split, hops=hops, lead=lead)


def _tasks(pages: SpanPages, *, seed: int, split: Split, hops: int, lead: Lead | None = None) -> Iterator[Task]:
    random = rng("spans", seed, split, hops)
    members = [document for key, document in pages.documents.items() if page_split(key) == split]
    random.shuffle(members)
    queue = deque(page_tasks(pages, document, rng("spans", seed, hops, document.id), hops=hops, lead=lead) for document in members)
    asked: set[str] = set()
    while queue:
        page = queue.popleft()
        task = next(page, None)
        if task is None:
            continue
        queue.append(page)
        if task.question not in asked:
            asked.add(task.question)
            yield task


def page_tasks(pages: SpanPages, page: Document, random: Random, *, hops: int, lead: Lead | None = None) -> Iterator[Task]:
    """The valid span tasks that start at a page, in random order, at most one per sentence and name.

    Args:
        pages: the corpus.
        page: one of its pages; the second page of two hops is of the same split.
        random: decides the order.
        hops: 1 or 2.
        lead: see `span_tasks`; one hop only.
    """
    made = _one_hop(pages, page, random, lead) if hops == 1 else _two_hops(pages, page, random)
    return (task for task in made if not validate(task, pages.corpus, em))


def _one_hop(pages: SpanPages, page: Document, random: Random, lead: Lead | None = None) -> Iterator[Task]:
    for sentence in _shuffled(_sentences(page), random):
        for blank in _blanks(pages, page, sentence, random):
            step = _lead_step(pages, blank, lead) if lead else _first_step(pages, blank)
            if step is not None:
                answers = (blank.name, step["quote"]) if lead else (blank.name,)
                yield _task(pages, f"{INSTRUCTION}{blank.question}", answers, [blank], [step])
                break


def _two_hops(pages: SpanPages, page: Document, random: Random) -> Iterator[Task]:
    for sentence in _shuffled(_sentences(page), random):
        for bridge in _blanks(pages, page, sentence, random):
            if bridge.target is None or page_split(bridge.target) != page_split(page.id):
                continue
            first = _first_step(pages, bridge)
            if first is not None:
                yield from _second_hops(pages, bridge, first, random)


def _second_hops(pages: SpanPages, bridge: _Blank, first: dict[str, str], random: Random) -> Iterator[Task]:
    """Questions that need the name of `bridge` and then a name on its page."""
    assert bridge.target is not None
    page = pages.documents[bridge.target]
    for sentence in _shuffled(_sentences(page), random):
        for blank in _blanks(pages, page, sentence, random):
            if mentions(f"{bridge.page.title}\n{bridge.page.text}", blank.name):
                continue
            for clause in _clauses(blank, bridge.name):
                question = f"First find the missing name: {bridge.question} Then fill in the blank about {_ENTITY}: {clause} {BLANK}"
                query = " ".join([bridge.name, *clause.removeprefix(f"{_ENTITY} ").removeprefix("... ").split()[-3:]])
                if told(question, blank.name) or pages.finds(clause, page.id) or pages.finds(question, page.id):
                    continue
                if pages.finds(query, page.id):
                    second = {"query": query, "quote": blank.quote, "document": page.title}
                    yield _task(pages, question, (blank.name,), [bridge, blank], [first, second])
                    break


def _clauses(blank: _Blank, subject: str) -> Iterator[str]:
    """What stands before a blank, with the page's subject called "that entity", from long to short.

    Not yielded: what names the subject or stands twice on the page, because then two names fill the blank.
    """
    before = blank.before.strip()
    for name in sorted({blank.page.title, untagged(blank.page.title), subject}, key=len, reverse=True):
        before = re.sub(rf"(?:\b[Tt]he )?(?<!\w){re.escape(name)}(?!\w)", _ENTITY, before)
    before = re.sub(r"\s*\([^()]*\)", "", _SUBJECT.sub(_ENTITY, before, count=1))
    _, entity, tail = before.rpartition(_ENTITY)
    words = tail.split()
    most, fewest = _CLAUSE_WORDS
    for count in range(min(most, len(words)), min(fewest, len(words)) - 1, -1):
        tail = " ".join(words[len(words) - count :])
        clause = f"{_ENTITY} {tail}" if count == len(words) else f"{_ENTITY} ... {tail}"
        once = blank.page.text.count(tail) == 1
        if entity and once and analyse(tail) and not _ODD.search(tail) and not told(clause, f"{blank.page.title} {subject}"):
            yield clause


def _first_step(pages: SpanPages, blank: _Blank) -> dict[str, str] | None:
    """How to find the page of a blank, or None if its sentence does not lead there or tells the name."""
    rest = f"{blank.before} {blank.after}"
    if len(set(analyse(rest))) < _FEWEST_TERMS or told(rest, blank.name) or not pages.finds(rest, blank.page.id):
        return None
    windows = [window for part in (blank.before, blank.after) for window in _windows(part)]
    windows.sort(key=lambda window: (_ODD.search(window) is None, pages.rarity(window)), reverse=True)
    for window in windows[:_QUERY_TRIES]:
        if pages.finds(window, blank.page.id):
            return {"query": window, "quote": blank.quote, "document": blank.page.title}
    return None


def _lead_step(pages: SpanPages, blank: _Blank, lead: Lead) -> dict[str, str] | None:
    """The same with the words before the blank as the query."""
    query = blank.before.strip()
    if not lead.fewest <= len(query.split()) <= lead.most or told(f"{query} {blank.after}", blank.name):
        return None
    if not analyse(query) or not pages.finds(query, blank.page.id, _LEAD_DEPTH):
        return None
    return {"query": query, "quote": f"{blank.before}{blank.name}".strip(), "document": blank.page.title}


def _windows(text: str) -> list[str]:
    """Verbatim runs of three to six words that begin and end with words that are searched for."""
    words = [match for match in WORD.finditer(text)]
    telling = [bool(analyse(word[0])) for word in words]
    return [
        text[words[i].start() : words[i + size - 1].end()]
        for size in _QUERY_WORDS
        for i in range(len(words) - size + 1)
        if telling[i] and telling[i + size - 1]
    ]


def _blanks(pages: SpanPages, page: Document, sentence: str, random: Random) -> list[_Blank]:
    """Names of a sentence that may be asked for: titles of other pages, then link texts, then capitalised runs."""
    titles, links, runs = [], [], []
    for start, end, name, _ in links_in(sentence):
        links.append(_Blank(page, sentence, start, end, name, pages.titles.get(name)))
    words = [match for match in WORD.finditer(sentence) if not any(b.start <= match.start() < b.end for b in links)]
    for start, end in capital_runs(sentence, words):
        initial = words[0].start() == start
        if initial and sentence[start:end] not in pages.titles and not analyse(words[0][0]) and end > words[0].end():
            start, initial = words[1].start(), False  # "In Ostrava": the first word only begins the sentence
        name = sentence[start:end]
        target = pages.titles.get(name)
        if target is not None and not (initial and " " not in name):
            titles.append(_Blank(page, sentence, start, end, name, target))
        elif not initial:
            runs.append(_Blank(page, sentence, start, end, name, None))
    groups = (titles + [b for b in links if b.target], [b for b in links if not b.target], runs)
    found = [blank for group in groups for blank in _shuffled(group, random)]
    return [b for b in found if b.target != page.id and _worth_asking(pages, b)]


def _worth_asking(pages: SpanPages, blank: _Blank) -> bool:
    name = blank.name
    if not name[:1].isupper() or len(name) < 4 or len(name.split()) > 7 or told(blank.page.title, name):
        return False
    if (" and " in name and blank.target is None) or _piece(blank.before, blank.after):
        return False
    following = re.match(r" ([a-z]+)", blank.after)
    if _ADJECTIVE.search(blank.before) or (following and following[1] not in FOLLOWS and analyse(following[1])):
        return False
    return " " in name or (name not in CALENDAR and not pages.common(name))


def _piece(before: str, after: str) -> bool:
    """Whether a name is cut out of a longer one: "14 CFR Part 135", "Warren/Halliwell", "Misery is a Butterfly"."""
    if re.match(r" ?[&\d]|[/\w\u0300-\u036f]", after) or re.search(r"[\d&/-] ?$|\bSt\.\s*$", before):
        return True
    within = before.count('"') % 2 == 1
    return within and not (before.endswith('"') and re.match(r"[,.!?]?\"", after))


def _sentences(page: Document) -> list[str]:
    told_in = (sentence for _, sentence in prose(page.text))
    return [sentence for sentence in told_in if _WORDS[0] <= len(sentence.split()) <= _WORDS[1] and BLANK not in sentence]


def _task(pages: SpanPages, question: str, answers: tuple[str, ...], blanks: list[_Blank], steps: list[dict[str, str]]) -> Task:
    digest = hashlib.blake2b(question.encode(), digest_size=6).hexdigest()
    kept = _ledger(blanks, answers)
    return Task(
        id=f"span-{len(blanks)}-{digest}",
        question=question,
        answers=answers,
        evidence=kept.documents,
        hops=len(blanks),
        kind="span",
        source=pages.source,
        meta={"steps": steps, "ledger": dump_ledger(kept)},
    )


def _ledger(blanks: list[_Blank], answers: tuple[str, ...]) -> Ledger:
    """Page after page: the blank of the last one is asked for, the name in every other one is the subject of the next."""
    things = [blanks[0].page.id, *(blank.target or f"name:{blank.name}" for blank in blanks)]
    terms = [Variable(f"v{len(blanks) - place}") for place in range(len(things))]
    said: list[Statement] = []
    names: dict[str, tuple[str, ...]] = {things[0]: (blanks[0].page.title,)}
    for blank, thing in zip(blanks, things[1:], strict=True):
        start = blank.page.text.index(blank.sentence)
        relation = f"{blank.before}{{o}}{blank.after}"
        said.append(Statement(blank.page.id, relation, thing, blank.page.id, start, start + len(blank.sentence)))
        names[thing] = (blank.name,)
    names[things[-1]] = answers
    triples = tuple(Triple(terms[place], statement.relation, terms[place + 1]) for place, statement in enumerate(said))
    edits = tuple(Edit("blank", f"{blank.name} on {blank.page.title}", number, number + 1) for number, blank in enumerate(blanks))
    return Ledger(Query(terms[-1], triples), tuple(said), names, {}, edits)


def _shuffled(items: list, random: Random) -> list:
    return random.sample(items, len(items))
