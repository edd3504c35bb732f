"""A world: a knowledge graph, the encyclopedia that states it, and exact answers from the graph.

The graph comes first: entities with types, unique names and aliases, functional relations between them, and numbers about them. Pages are
rendered from it on demand (`pages.py`), so a world of a million pages costs its graph only. A page's text depends on the seed and the page
alone. Ids carry split and seed (`w7-12`: train, seed 7, page 12), so worlds can be merged.

A stale page ("Ondal Brin (archived 1998)") repeats an entity's facts as they once were; at least one differs. The current page is the
truth and says so. A world has no search of its own: build an index over `documents()`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import Field

from spadework.core.config import Config
from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.worlds import pages
from spadework.corpus.worlds.lexicon import Split
from spadework.corpus.worlds.schema import ATTRIBUTES

__all__ = ["Entity", "Stale", "World", "WorldConfig"]


class WorldConfig(Config):
    """What to generate. Every rate is a probability per page and may be 0."""

    seed: int = 0
    pages: int = Field(default=1_500, ge=1_000, le=1_000_000)
    """Pages in all: one per entity, and the stale ones."""
    split: Split = "train"
    """Worlds of different splits share words but no full name."""
    alias_rate: float = Field(default=0.1, ge=0, le=1)
    """Entities with a second name."""
    namesake_rate: float = Field(default=0.1, ge=0, le=1)
    """Entities whose name takes over a word of the name of another entity of the same type."""
    distractor_rate: float = Field(default=0.1, ge=0, le=1)
    """Pages that also state a fact or two of another entity with a near name."""
    stale_rate: float = Field(default=0.02, ge=0, le=0.5)
    """Share of the pages that are outdated copies."""
    dead_link_rate: float = Field(default=0.02, ge=0, le=1)
    """Pages that refer to a page that does not exist."""
    table_rate: float = Field(default=0.2, ge=0, le=1)
    """Pages with a table of the entities that point to them, where there are at least two."""
    prose_rate: float = Field(default=0.3, ge=0, le=1)
    """Facts that a page also states in a sentence."""


@dataclass(frozen=True, slots=True)
class Entity:
    """Something with a page."""

    id: str
    title: str
    type: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stale:
    """An outdated copy of an entity's page."""

    id: str
    title: str
    entity: str
    """Id of the entity, whose current page is the truth."""
    year: int
    facts: Mapping[str, str]
    """What the page says; at least one object is not the current one."""


@dataclass(eq=False, repr=False)
class World:
    """A generated corpus with the graph behind it. Made by `generate.build_world`."""

    config: WorldConfig
    entities: dict[str, Entity]
    """By id, in page order."""
    facts: dict[str, dict[str, str]]
    """Entity id -> relation -> id of the object."""
    attributes: dict[str, dict[str, int]]
    """Entity id -> attribute -> number."""
    stale: dict[str, Stale]
    """By page id, in page order, after the entities."""
    dead_titles: tuple[str, ...]
    """Names of no entity, for links that lead nowhere."""

    def __len__(self) -> int:
        """Number of pages."""
        return len(self.entities) + len(self.stale)

    def __iter__(self) -> Iterator[Document]:
        """All pages in order; stale ones last."""
        for entity in self.entities:
            yield pages.entity_page(self, entity)
        for page in self.stale:
            yield pages.stale_page(self, page)

    def documents(self) -> list[Document]:
        """All pages, rendered once and kept."""
        return self._documents

    @cached_property
    def _documents(self) -> list[Document]:
        return list(self)

    def get(self, key: str) -> Document | None:
        """The page with this id, else with exactly this title or alias (case ignored), else None."""
        page_id = key if key in self.entities or key in self.stale else self.ids.get(key.casefold())
        if page_id is None:
            return None
        return pages.entity_page(self, page_id) if page_id in self.entities else pages.stale_page(self, page_id)

    @cached_property
    def ids(self) -> dict[str, str]:
        """Page ids by title and alias, casefolded."""
        ids = {alias.casefold(): entity.id for entity in self.entities.values() for alias in entity.aliases}
        ids |= {page.title.casefold(): page.id for page in self.stale.values()}
        return ids | {entity.title.casefold(): entity.id for entity in self.entities.values()}

    @cached_property
    def archived(self) -> dict[str, Stale]:
        """The stale copy of each entity that has one."""
        return {page.entity: page for page in self.stale.values()}

    @cached_property
    def subjects(self) -> dict[tuple[str, str, str], list[str]]:
        """The graph backwards: (type of the subject, relation, object id) -> subject ids in page order."""
        backwards: dict[tuple[str, str, str], list[str]] = {}
        for subject, facts in self.facts.items():
            kind = self.entities[subject].type
            for relation, target in facts.items():
                backwards.setdefault((kind, relation, target), []).append(subject)
        return backwards

    @cached_property
    def near_names(self) -> dict[str, list[str]]:
        """Entity ids by each word of their names, in page order."""
        near: dict[str, list[str]] = {}
        for entity in self.entities.values():
            for word in entity.title.split():
                near.setdefault(word, []).append(entity.id)
        return near

    def names(self, entity_id: str) -> tuple[str, ...]:
        """Title and aliases of an entity: every name under which it is a right answer."""
        entity = self.entities[entity_id]
        return (entity.title, *entity.aliases)

    def follow(self, start: str, relations: Sequence[str]) -> list[str]:
        """Walk a chain of relations: the ids from the start to the answer, one more than there are relations.

        All but the last are the chain's evidence, in the order in which a solver needs them.

        Raises:
            InputError: an entity on the way does not have the relation.
        """
        walk = [start]
        for relation in relations:
            target = self.facts.get(walk[-1], {}).get(relation)
            if target is None:
                raise InputError(f"{walk[-1]} has no '{relation}'; it has: {', '.join(self.facts.get(walk[-1], ())) or 'no facts'}")
            walk.append(target)
        return walk

    def evidence(self, start: str, relations: Sequence[str]) -> tuple[str, ...]:
        """Ids of the pages that state the facts of a chain, in solving order."""
        return tuple(self.follow(start, relations)[:-1])

    def matching(self, type_name: str, constraints: Sequence[tuple[str, str]]) -> list[str]:
        """Ids of all entities of a type that have every (relation, object id), in page order."""
        (relation, target), *others = constraints
        found = self.subjects.get((type_name, relation, target), [])
        return [entity for entity in found if all(self.facts[entity].get(name) == wanted for name, wanted in others)]

    def compare(self, first: str, second: str, attribute: str) -> str | None:
        """Which of two entities comes first by an attribute (earlier year, larger number); None for a tie.

        Raises:
            InputError: one of them does not have the attribute.
        """
        for entity in (first, second):
            if attribute not in self.attributes.get(entity, ()):
                raise InputError(f"{entity} has no '{attribute}'; it has: {', '.join(self.attributes.get(entity, ())) or 'no numbers'}")
        a, b = self.attributes[first][attribute], self.attributes[second][attribute]
        smaller = next(kind.smaller for kind in ATTRIBUTES[self.entities[first].type] if kind.name == attribute)
        return None if a == b else first if (a < b) == smaller else second

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the graph, the configuration and the version of the page format: the name of this world."""
        digest = hashlib.sha256(f"{pages.FORMAT}\n{self.config.model_dump_json()}\n".encode())
        for entity in self.entities.values():
            row = [entity.id, entity.title, entity.type, entity.aliases, self.facts[entity.id], self.attributes[entity.id]]
            digest.update(json.dumps(row).encode())
        for page in self.stale.values():
            digest.update(json.dumps([page.id, page.title, page.entity, page.year, page.facts]).encode())
        digest.update(json.dumps(self.dead_titles).encode())
        return digest.hexdigest()
