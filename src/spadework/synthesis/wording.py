"""The question of a draft in English, without a model: several templates per shape, drawn by the seed.

A world's question is one sentence with nested relative clauses where the tree allows it ("Which person wrote a book whose publisher is a
company that was founded by Ondal Brin?"): of the clauses of one thing only the last may hold another thing with clauses, so that every
`and` has one reading. Other trees, and some of these, are told flat: "Which person is X? X wrote the book Y. ..." For a document corpus the
statements are the sentences of its pages, with letters for what is not named.

A question never names its answer, nor anything else that it means without naming it; on a document corpus not even by one word of a name.
Such a wording is drawn again, and given up after a few times. Not judged: whether a sentence of a page makes sense by itself.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from random import Random

from spadework.corpus.index import analyse
from spadework.corpus.worlds.schema import ATTRIBUTES, PLURALS
from spadework.synthesis.chance import pick
from spadework.synthesis.draft import Draft, branches, constants
from spadework.synthesis.names import WORD, untagged
from spadework.synthesis.phrases import AS_OBJECT, AS_SUBJECT, NOUNS, NUMBERS, SENTENCES, SUPERLATIVES, YEARS, Clause, plural, value_range
from spadework.synthesis.query import Between, Initial, OneOf, Term, Triple, Variable
from spadework.synthesis.statements import Graph, is_literal

__all__ = ["LIST_INSTRUCTION", "tells", "word"]

LIST_INSTRUCTION = "Separate the answers with semicolons."
"""Ends a question with several answers, which rewards split at semicolons (`rewards/sets.py`)."""
_TRIES = 4
_LETTERS = "XYZWVUTSRQPNMLKJ"
_FIND = (
    "Which {kind} {direct}?",
    "What is the name of the {kind} {clauses}?",
    "Name the {kind} {clauses}.",
    "There is a {kind} {clauses}. What is the name of this {kind}?",
    "I am looking for a {kind} {clauses}. Which {kind} is it?",
)
_COUNT = ("How many {kinds} {direct}?", "How many {kinds} are there {clauses}?", "What is the number of {kinds} {clauses}?")
_LIST = ("Which {kinds} {direct}?", "Name all {kinds} {clauses}.", "List every one of the {kinds} {clauses}.")
_BEST = ("Of all {kinds} {clauses}, which one {asks}?", "Among the {kinds} {clauses}, which one {asks}?")
_PAIR = ("Which {kind} {asks}: the one {first} or the one {second}?", "Of two {kinds}, the one {first} and the one {second}, which {asks}?")
_COMPOSE = ("Answer these {n} questions in this order.", "Here are {n} questions; answer all of them, in this order.")


def word(draft: Draft, graph: Graph, random: Random) -> str | None:
    """The question of a draft, or None if every wording that was tried says too much.

    Args:
        draft: finished; a tree, or parts that are trees.
        graph: has the names and types.
        random: draws the templates.
    """
    for _ in range(_TRIES):
        question = _question(draft, graph, random)
        if question is not None and not _tells(question, draft, graph):
            return question
    return None


def _question(draft: Draft, graph: Graph, random: Random) -> str | None:
    query = draft.query
    if query.operation == "compose":
        asked = [word(part, graph, random) for part in draft.parts]
        if None in asked:
            return None
        numbered = " ".join(f"({index}) {text}" for index, text in enumerate(asked, start=1))
        return f"{pick(_COMPOSE, random).format(n=len(asked))} {LIST_INSTRUCTION} {numbered}"
    relations = {triple.relation for part in draft.parts or (draft,) for triple in part.query.triples}
    if not relations <= SENTENCES.keys() | _ATTRIBUTES:
        return _Letters(draft, graph, random).from_sentences()
    if query.operation == "compare" and draft.parts:
        return _ask_pair(draft, graph, random)
    nested = _Nested(draft, graph, random)
    if nested.readable(draft.target, frozenset()) and random.random() < 0.8:
        return nested.question()
    return _Letters(draft, graph, random).from_schema()


_ATTRIBUTES = frozenset(number.name for numbers in ATTRIBUTES.values() for number in numbers)


class _Nested:
    """Relative clauses in one sentence."""

    def __init__(self, draft: Draft, graph: Graph, random: Random) -> None:
        self.query, self.target, self.bound = draft.query, draft.target, draft.witnesses[0]
        self.graph, self.random = graph, random

    def question(self) -> str:
        target, operation = self.target, self.query.operation
        if is_literal(self.bound[target]):
            ((index, owner, _),) = branches(self.query)
            relation = self.query.triples[index].relation
            return f"What is the {NOUNS.get(relation, relation)} of {self.noun(owner, frozenset({index}))}?"
        kind = self.graph.type(self.bound[target])
        many = operation != "find"
        clauses, direct = self.clauses(target, frozenset(), many)
        frames = {"find": _FIND, "count": _COUNT, "list": _LIST, "compare": _BEST}[operation]
        frame = pick(frames if direct else [frame for frame in frames if "{direct}" not in frame], self.random)
        asks = _superlative(kind, self.query.attribute) if operation == "compare" else ""
        text = frame.format(kind=kind, kinds=PLURALS[kind], clauses=clauses, direct=direct, asks=asks)
        return f"{text} {LIST_INSTRUCTION}" if operation == "list" else text

    def readable(self, root: Term, seen: frozenset[int]) -> bool:
        """Whether no variable has two branches that hold clauses of their own."""
        below = [(index, end) for index, end, _ in branches(self.query, root, seen) if self._heavy(end, index)]
        return len(below) < 2 and all(self.readable(end, seen | {index}) for index, end in below)

    def _heavy(self, term: Term, index: int) -> bool:
        """Whether the far end of a triple has clauses."""
        if not isinstance(term, Variable):
            return False
        return bool(self._initial(term)) or any(True for _ in branches(self.query, term, frozenset({index})))

    def _initial(self, variable: Variable) -> str:
        return next((c.letter for c in self.query.conditions if isinstance(c, Initial) and c.variable == variable), "")

    def clauses(self, variable: Variable, seen: frozenset[int], many: bool = False) -> tuple[str, str]:
        """All clauses of a variable, and the same without their first `who` or `that`, empty where that makes no question."""
        told: list[tuple[bool, Clause, str]] = []
        for index, end, is_subject in branches(self.query, variable, seen):
            heavy = self._heavy(end, index)
            relation = self.query.triples[index].relation
            if relation in _ATTRIBUTES:
                clause = NUMBERS[self.graph.type(self.bound[variable]), relation]
                value = _value(self.query.triples[index], self.query.conditions, self.graph)
                # "in 1926" and "in the early 1910s", but "between 1910 and 1912".
                rest = clause.rest.replace("in {}", "{}") if value.startswith("between") and relation in YEARS else clause.rest
                told.append((False, clause._replace(rest=rest), value))
                continue
            options = (AS_SUBJECT if is_subject else AS_OBJECT)[relation]
            clause = pick([clause for clause in options if clause.open] if isinstance(end, Variable) else options, self.random)
            told.append((heavy, clause, self.noun(end, seen | {index})))
        self.random.shuffle(told)
        told.sort(key=lambda entry: entry[0])
        initial = self._initial(variable)
        said = [f"whose {'names begin' if many else 'name begins'} with {initial}"] if initial else []
        for _, clause, value in told:
            rest = plural(clause.rest) if many and clause.direct else clause.rest
            said.append(f"{clause.relative} {rest.format(value)}")
        first = told[0][1] if told and not initial else None
        return " and ".join(said), " and ".join(said).partition(" ")[2] if first is not None and first.direct else ""

    def noun(self, term: Term, seen: frozenset[int]) -> str:
        """A thing with its clauses, or a name."""
        if not isinstance(term, Variable):
            return _name(term, self.graph)
        below = list(branches(self.query, term, seen))
        if len(below) == 1 and not below[0][2] and not self._initial(term) and self.random.random() < 0.5:
            index, end, _ = below[0]
            return f"the {self.query.triples[index].relation} of {self.noun(end, seen | {index})}"
        clauses, _ = self.clauses(term, seen)
        return f"a {self.graph.type(self.bound[term])} {clauses}".rstrip()


class _Letters:
    """One sentence per triple, with letters for the variables."""

    def __init__(self, draft: Draft, graph: Graph, random: Random) -> None:
        self.draft, self.query, self.graph, self.random = draft, draft.query, graph, random
        self.bound = draft.witnesses[0]
        self.target = draft.target
        ordered = dict.fromkeys([self.target, *self.bound])
        letters = (*_LETTERS, *(f"X{number}" for number in range(2, len(ordered))))
        entities = [variable for variable in ordered if not is_literal(self.bound[variable]) or variable == self.target]
        self.letters = dict(zip(entities, letters, strict=False))
        self.introduced: set[Variable] = set()

    def from_schema(self) -> str:
        """Sentences of a world's relations."""
        kind = self.graph.type(self.bound[self.target])
        self.introduced.add(self.target)
        told = [self._schema_sentence(index) for index in self._order(self.target, frozenset())]
        return self._ask(kind, PLURALS.get(kind, "numbers"), " ".join([*told, *self._initials()]))

    def from_sentences(self) -> str | None:
        """Sentences of pages. What is compared, counted or listed is drawn on worlds only."""
        if self.query.operation != "find":
            return None
        clues: dict[str, None] = {}
        for triple in self.query.triples:
            ends = (self._letter_or_name(triple.subject), self._letter_or_name(triple.object))
            about = "" if "{s}" in triple.relation else f"About {ends[0]}: "
            # Two triples may come from one sentence, which then may read the same for both.
            clues[f"{about}{triple.relation.replace('{s}', ends[0]).replace('{o}', ends[1])}"] = None
        told = [f"({number}) {clue}" for number, clue in enumerate(clues, start=1)] if len(clues) > 1 else list(clues)
        return self._ask("thing or person", "", " ".join([*told, *self._initials()]))

    def _ask(self, kind: str, kinds: str, told: str) -> str:
        letter, operation = self.letters[self.target], self.query.operation
        if operation == "find":
            frames = ("Which {kind} is {letter}? {told}", "{told} Which {kind} is {letter}?", "Find out which {kind} {letter} is: {told}")
            return pick(frames, self.random).format(kind=kind, letter=letter, told=told)
        given = f"Let {letter} be a {kind} for which all of this is true: {told}"
        if operation == "count":
            return f"{given} How many {kinds} can {letter} be?"
        if operation == "list":
            return f"{given} Name all {kinds} that {letter} can be. {LIST_INSTRUCTION}"
        return f"{given} Of all {kinds} that {letter} can be, which one {_superlative(kind, self.query.attribute)}?"

    def _order(self, root: Term, seen: frozenset[int]) -> Iterator[int]:
        for index, end, _ in branches(self.query, root, seen):
            yield index
            if isinstance(end, Variable):
                yield from self._order(end, seen | {index})

    def _schema_sentence(self, index: int) -> str:
        triple = self.query.triples[index]
        if triple.relation in _ATTRIBUTES:
            assert isinstance(triple.subject, Variable)
            if triple.object == self.target:
                noun = NOUNS.get(triple.relation, triple.relation)
                return f"{self._letter_or_name(triple.object)} is the {noun} of {self._mention(triple.subject)}."
            clause = NUMBERS[self.graph.type(self.bound[triple.subject]), triple.relation]
            value = _value(triple, self.query.conditions, self.graph)
            rest = clause.rest.replace("in {}", "{}") if value.startswith("between") and triple.relation in YEARS else clause.rest
            return _capital(f"{self._mention(triple.subject)} {rest.format(value)}.")
        text = pick(SENTENCES[triple.relation], self.random)
        # The end that stands first in the sentence is introduced first.
        ends = {"{s}": triple.subject, "{o}": triple.object}
        for mark in sorted(ends, key=text.index):
            text = text.replace(mark, self._mention(ends[mark]))
        return _capital(text)

    def _mention(self, term: Term) -> str:
        if not isinstance(term, Variable):
            return _name(term, self.graph)
        if term in self.introduced:
            return self.letters[term]
        self.introduced.add(term)
        return f"the {self.graph.type(self.bound[term])} {self.letters[term]}"

    def _letter_or_name(self, term: Term) -> str:
        return self.letters[term] if isinstance(term, Variable) else _name(term, self.graph)

    def _initials(self) -> list[str]:
        vague = [condition for condition in self.query.conditions if isinstance(condition, Initial)]
        return [f"The name of {self.letters[condition.variable]} begins with {condition.letter}." for condition in vague]


def _ask_pair(draft: Draft, graph: Graph, random: Random) -> str | None:
    nested = [_Nested(part, graph, random) for part in draft.parts]
    if len(nested) != 2 or not all(one.readable(one.target, frozenset()) for one in nested):
        return None
    first, second = (one.clauses(one.target, frozenset())[0] for one in nested)
    kind = graph.type(draft.parts[0].answer)
    asks = next(number.asks for number in ATTRIBUTES[kind] if number.name == draft.query.attribute)
    return pick(_PAIR, random).format(kind=kind, kinds=PLURALS[kind], asks=asks, first=first, second=second)


def _superlative(kind: str, attribute: str) -> str:
    asks = next(number.asks for number in ATTRIBUTES[kind] if number.name == attribute)
    for two, several in SUPERLATIVES.items():
        asks = asks.replace(two, several)
    return asks


def _value(triple: Triple, conditions: Sequence[object], graph: Graph) -> str:
    if isinstance(triple.object, str):
        return graph.name(triple.object)
    span = next(condition for condition in conditions if isinstance(condition, Between) and condition.variable == triple.object)
    return value_range(span.low, span.high, year=triple.relation in YEARS)


def _name(term: str | OneOf, graph: Graph) -> str:
    return graph.name(term) if isinstance(term, str) else " or ".join(map(graph.name, term.constants))


def tells(question: str, names: Iterable[str], *, exact: bool) -> str:
    """The first of some names that a question has, or has a telling word of; empty if it has none.

    Args:
        question: in any wording.
        names: of what it means without naming it.
        exact: whether names are those of a world, which count as wholes. Words of real names tell more: one with a capital is enough
            ("Conner" for Van Conner), or all of them in lower case ("altruism"). Brackets of titles do not count.
    """
    if exact:
        return next((name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", question, re.IGNORECASE)), "")
    terms = set(analyse(question))
    proper = set(analyse(" ".join(found[0] for found in WORD.finditer(question) if found[0] != found[0].lower() or found[0].isdigit())))
    for name in names:
        telling = set(analyse(untagged(name) or name))
        if not proper.isdisjoint(telling) or (telling and telling <= terms):
            return name
    return ""


def _tells(question: str, draft: Draft, graph: Graph) -> bool:
    """Whether a question names what it means without naming it."""
    meant = {value for one in draft.parts or (draft,) for witness in one.witnesses for value in witness.values() if not is_literal(value)}
    # What is counted or listed may hang on a thing that the question names elsewhere.
    meant -= constants(draft.query)
    asked = {witness[one.target] for one in draft.parts or (draft,) for witness in one.witnesses if one.query.operation == "find"}
    if not graph.exact:
        # Of the answer a word in any case is too much.
        words = set(analyse(question))
        if any(not words.isdisjoint(analyse(untagged(name))) for value in asked for name in graph.names(value) if not is_literal(value)):
            return True
    names = {name for value in meant | asked for name in graph.names(value)}
    # A world's names are many and its questions are made fast: what is not there in its own case is not there.
    return bool(tells(question, (name for name in names if not graph.exact or name in question), exact=graph.exact))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
