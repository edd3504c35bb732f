"""Statements, and the graphs that they make: what a question is drawn from and checked against.

A statement is one edge with the page, and the characters of its text, that say it. Subjects are ids of entities. An object is an id too, or
a number, written with a leading `=` (`=1926`), so that it is never taken for an id of a corpus whose pages are numbered.

`WorldGraph` looks at the dictionaries of a generated world and copies nothing: it knows all, so what it does not have is not so (`exact`).
`LedgerGraph` is the graph of a task's own statements. The graph of a document corpus is `corpus_graph.CorpusGraph`; pages only say what
they say, so an answer that is unique there may have a rival that no page mentions.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple, Protocol

from spadework.corpus.worlds.schema import ATTRIBUTES, RELATIONS
from spadework.corpus.worlds.world import World

__all__ = ["Graph", "LedgerGraph", "Statement", "WorldGraph", "is_literal", "literal", "number"]

_CACHED_PAGES = 1_000
_BEGINNING = 3
"""Letters of a name by which entities are indexed."""
_SUBJECT_TYPE = {relation.name: kind for kind, relations in RELATIONS.items() for relation in relations}
"""Every relation of a world belongs to one type of subjects."""
_POINTING_AT: dict[str, list[tuple[str, str]]] = {}
for _kind, _relations in RELATIONS.items():
    for _relation in _relations:
        _POINTING_AT.setdefault(_relation.target, []).append((_kind, _relation.name))


def literal(value: int) -> str:
    """A number as the object of a statement: `=1926`."""
    return f"={value}"


def is_literal(value: str) -> bool:
    """Whether an object is a number, not an entity."""
    return value.startswith("=")


def number(value: str) -> int:
    """The number of a literal."""
    return int(value[1:])


class Statement(NamedTuple):
    """A page says that the subject has the relation to the object."""

    subject: str
    relation: str
    object: str
    document: str
    """Id of the page."""
    start: int = -1
    """Characters of the page's text that say so, `text[start:end]`; -1 where nobody has looked for them yet (see `Graph.located`)."""
    end: int = -1


class Graph(Protocol):
    """Entities and statements about them."""

    @property
    def entities(self) -> Sequence[str]:
        """Ids of all entities in a fixed order."""
        ...

    @property
    def exact(self) -> bool:
        """Whether what the graph does not say is false."""
        ...

    @property
    def source(self) -> str:
        """Name and hash of where it comes from, for `Task.source`."""
        ...

    def name(self, key: str) -> str:
        """What an entity or number is called."""
        ...

    def names(self, key: str) -> tuple[str, ...]:
        """The name, then the other names."""
        ...

    def type(self, key: str) -> str:
        """Its type; empty if it is not known."""
        ...

    def outgoing(self, key: str) -> Sequence[Statement]:
        """Statements about an entity."""
        ...

    def incoming(self, key: str) -> Sequence[Statement]:
        """Statements whose object is the entity."""
        ...

    def objects(self, subject: str, relation: str) -> Sequence[str]:
        """What the subject has the relation to."""
        ...

    def subjects(self, relation: str, object: str) -> Sequence[str]:
        """What has the relation to the object."""
        ...

    def having(self, relation: str) -> Sequence[str]:
        """Subjects that have the relation to anything; may include some that do not."""
        ...

    def between(self, relation: str, low: int, high: int) -> Sequence[str]:
        """Subjects with a number from `low` to `high`."""
        ...

    def of_type(self, type: str, initial: str = "") -> Sequence[str]:
        """Entities of a type whose name begins with something, up to three letters."""
        ...

    def document(self, key: str) -> str:
        """Id of an entity's own page; empty if it has none."""
        ...

    def located(self, statement: Statement) -> Statement:
        """The statement with its characters on the page."""
        ...


class WorldGraph:
    """The graph of a generated world: relations and attributes. Outdated copies are no part of it."""

    exact = True

    def __init__(self, world: World) -> None:
        self.world = world
        self._text = lru_cache(maxsize=_CACHED_PAGES)(self._page)

    @cached_property
    def entities(self) -> Sequence[str]:
        """Ids of all entities in page order."""
        return list(self.world.entities)

    @cached_property
    def source(self) -> str:
        """`world:` and the first digits of its hash."""
        return f"world:{self.world.content_hash[:12]}"

    def name(self, key: str) -> str:
        """Title of an entity, digits of a number."""
        return key[1:] if is_literal(key) else self.world.entities[key].title

    def names(self, key: str) -> tuple[str, ...]:
        """Title and aliases."""
        return (key[1:],) if is_literal(key) else self.world.names(key)

    def type(self, key: str) -> str:
        """One of the world's types; `number`."""
        return "number" if is_literal(key) else self.world.entities[key].type

    def outgoing(self, key: str) -> Sequence[Statement]:
        """Facts and numbers of an entity."""
        found = [Statement(key, relation, target, key) for relation, target in self.world.facts[key].items()]
        found += [Statement(key, name, f"={value}", key) for name, value in self.world.attributes[key].items()]
        return found

    def incoming(self, key: str) -> Sequence[Statement]:
        """Facts whose object is the entity."""
        subjects, kind = self.world.subjects, self.world.entities[key].type
        return [
            Statement(subject, relation, key, subject)
            for of, relation in _POINTING_AT.get(kind, ())
            for subject in subjects.get((of, relation, key), ())
        ]

    def objects(self, subject: str, relation: str) -> Sequence[str]:
        """The object, if there is one: relations are functional."""
        target = self.world.facts.get(subject, {}).get(relation)
        if target is not None:
            return (target,)
        value = self.world.attributes.get(subject, {}).get(relation)
        return () if value is None else (f"={value}",)

    def subjects(self, relation: str, object: str) -> Sequence[str]:
        """In page order; of a number, in the order of the numbers."""
        if is_literal(object):
            return self.between(relation, number(object), number(object))
        return self.world.subjects.get((_SUBJECT_TYPE.get(relation, ""), relation, object), ())

    def having(self, relation: str) -> Sequence[str]:
        """All of the relation's type of subjects, or all with the attribute."""
        return self._numbers[relation][1] if relation in self._numbers else self.of_type(_SUBJECT_TYPE.get(relation, ""))

    def between(self, relation: str, low: int, high: int) -> Sequence[str]:
        """In the order of the numbers."""
        numbers, holders = self._numbers.get(relation, ((), ()))
        return holders[bisect_left(numbers, low) : bisect_right(numbers, high)]

    def of_type(self, type: str, initial: str = "") -> Sequence[str]:
        """In page order."""
        return self._members.get((type, initial.casefold()), ())

    def document(self, key: str) -> str:
        """An entity's page has its id."""
        return "" if is_literal(key) else key

    def located(self, statement: Statement) -> Statement:
        """The statement with the characters of its fact line. Renders the page."""
        title = self.name(statement.subject)
        line = f"{title} {statement.relation} {self.name(statement.object)}"
        # The introduction stands above every fact line.
        start = f"{self._text(statement.document)}\n".index(f"\n{line}\n") + 1
        return statement._replace(start=start, end=start + len(line))

    def _page(self, key: str) -> str:
        page = self.world.get(key)
        assert page is not None
        return page.text

    @cached_property
    def _numbers(self) -> dict[str, tuple[list[int], list[str]]]:
        """By attribute: all numbers, ascending, and whose they are."""
        pairs: dict[str, list[tuple[int, str]]] = {number.name: [] for numbers in ATTRIBUTES.values() for number in numbers}
        for key, attributes in self.world.attributes.items():
            for name, value in attributes.items():
                pairs[name].append((value, key))
        sorted_pairs = {name: sorted(found, key=lambda pair: pair[0]) for name, found in pairs.items()}
        return {name: ([value for value, _ in found], [key for _, key in found]) for name, found in sorted_pairs.items()}

    @cached_property
    def _members(self) -> dict[tuple[str, str], list[str]]:
        """By type and beginning of the name, of no to three letters."""
        members: dict[tuple[str, str], list[str]] = {}
        for entity in self.world.entities.values():
            for size in range(_BEGINNING + 1):
                members.setdefault((entity.type, entity.title[:size].casefold()), []).append(entity.id)
        return members


class LedgerGraph:
    """The graph of some statements, for example of those that a task's ledger keeps."""

    exact = False
    source = "the ledger"

    def __init__(self, statements: Iterable[Statement], names: Mapping[str, Sequence[str]], types: Mapping[str, str]) -> None:
        """Index statements.

        Args:
            statements: the edges.
            names: of each entity, the name first.
            types: of each entity whose type is known.
        """
        self.statements = tuple(statements)
        self._names, self._types = names, types
        self._out: dict[str, list[Statement]] = {}
        self._in: dict[str, list[Statement]] = {}
        for statement in self.statements:
            self._out.setdefault(statement.subject, []).append(statement)
            self._in.setdefault(statement.object, []).append(statement)

    @cached_property
    def entities(self) -> Sequence[str]:
        """Ids of all subjects and objects that are no numbers, in the order of the statements."""
        ends = (end for statement in self.statements for end in (statement.subject, statement.object))
        return list(dict.fromkeys(end for end in ends if not is_literal(end)))

    def name(self, key: str) -> str:
        """The first name; digits of a number."""
        return self.names(key)[0]

    def names(self, key: str) -> tuple[str, ...]:
        """As given."""
        return (key[1:],) if is_literal(key) else tuple(self._names[key])

    def type(self, key: str) -> str:
        """As given."""
        return "number" if is_literal(key) else self._types.get(key, "")

    def outgoing(self, key: str) -> Sequence[Statement]:
        """In the order of the statements."""
        return self._out.get(key, ())

    def incoming(self, key: str) -> Sequence[Statement]:
        """In the order of the statements."""
        return self._in.get(key, ())

    def objects(self, subject: str, relation: str) -> Sequence[str]:
        """Without repeats."""
        return list(dict.fromkeys(statement.object for statement in self.outgoing(subject) if statement.relation == relation))

    def subjects(self, relation: str, object: str) -> Sequence[str]:
        """Without repeats."""
        return list(dict.fromkeys(statement.subject for statement in self.incoming(object) if statement.relation == relation))

    def having(self, relation: str) -> Sequence[str]:
        """Without repeats."""
        return list(dict.fromkeys(statement.subject for statement in self.statements if statement.relation == relation))

    def between(self, relation: str, low: int, high: int) -> Sequence[str]:
        """Without repeats."""
        about = (statement for statement in self.statements if statement.relation == relation and is_literal(statement.object))
        return list(dict.fromkeys(statement.subject for statement in about if low <= number(statement.object) <= high))

    def of_type(self, type: str, initial: str = "") -> Sequence[str]:
        """In the order of the statements."""
        return [key for key in self.entities if self.type(key) == type and self.name(key).casefold().startswith(initial.casefold())]

    def document(self, key: str) -> str:
        """The page of the first statement about it."""
        return next((statement.document for statement in self.outgoing(key)), "")

    def located(self, statement: Statement) -> Statement:
        """As it is: a ledger has no pages."""
        return statement
