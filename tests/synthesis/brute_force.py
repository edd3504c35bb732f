"""The answers of a tree-shaped query from the text of a world's pages alone: no graph, no join, every entity is tried as the target."""

import re
from collections.abc import Iterator
from copy import copy

from spadework.corpus.worlds.world import World
from spadework.synthesis.query import Between, Initial, OfType, OneOf, Query, Term, Triple, Variable

__all__ = ["Facts"]


class Facts:
    """What the fact lines of the current pages say, by page id."""

    def __init__(self, world: World) -> None:
        pages = [page for page in world if "This copy was archived" not in page.text]
        ids = {page.title: page.id for page in pages}
        self.titles = {page.id: page.title for page in pages}
        self.types = {page.id: re.match(rf"{page.title} is a (\w+)\.", page.text)[1] for page in pages}  # type: ignore[index]
        self.facts: list[tuple[str, str, str]] = []
        for page in pages:
            for relation, value in re.findall(rf"^{page.title} ([a-z]+) ([A-Z][a-z]+ [A-Z][a-z]+|\d+)$", page.text, re.MULTILINE):
                self.facts.append((page.id, relation, ids.get(value, f"={value}")))
        self._index()

    def without(self, page: str) -> "Facts":
        """The same without what a page says."""
        rest = copy(self)
        rest.facts = [fact for fact in self.facts if fact[0] != page]
        rest._index()
        return rest

    def _index(self) -> None:
        self.by_subject: dict[tuple[str, str], list[str]] = {}
        self.by_object: dict[tuple[str, str], list[str]] = {}
        for subject, relation, object in self.facts:
            self.by_subject.setdefault((relation, subject), []).append(object)
            self.by_object.setdefault((relation, object), []).append(subject)

    def targets(self, query: Query) -> set[str]:
        """Values of the target, for a reader who lets two descriptions mean one entity."""
        assert isinstance(query.target, Variable)
        things = {*self.titles, *(value for _, _, value in self.facts)}
        return {thing for thing in things if self.fits(query, query.target, thing, ())}

    def answers(self, query: Query) -> list[set[str]]:
        """All answers: of a find or list the values, of a count their number, of a composition those of each part."""
        if query.operation == "compose":
            return [found for part in query.parts for found in self.answers(part)]
        found = self.targets(query)
        return [{str(len(found))} if query.operation == "count" else found]

    def fits(self, query: Query, variable: Variable, value: str, seen: tuple[Triple, ...]) -> bool:
        for condition in query.conditions:
            if condition.variable == variable:
                if isinstance(condition, OfType) and self.types.get(value) != condition.type:
                    return False
                if isinstance(condition, Initial) and not self.titles.get(value, "").startswith(condition.letter):
                    return False
                if isinstance(condition, Between) and not (value[0] == "=" and condition.low <= int(value[1:]) <= condition.high):
                    return False
        return all(
            any(self.agrees(query, end, other, (*seen, triple)) for other in self.others(triple, variable, value))
            for triple in query.triples
            if variable in (triple.subject, triple.object) and triple not in seen
            for end in [triple.object if triple.subject == variable else triple.subject]
        )

    def agrees(self, query: Query, end: Term, value: str, seen: tuple[Triple, ...]) -> bool:
        if isinstance(end, Variable):
            return self.fits(query, end, value, seen)
        return value in end.constants if isinstance(end, OneOf) else value == end

    def others(self, triple: Triple, variable: Variable, value: str) -> Iterator[str]:
        index = self.by_subject if triple.subject == variable else self.by_object
        yield from index.get((triple.relation, value), ())
