"""Generation of a world's graph from its configuration.

Types first, then names, then relations, numbers and stale copies, all from one random stream, in time linear in the number of pages. Only
`random()` and `shuffle()` of Python's generator are used, which are the same in every version of Python and on every machine.

Not modelled: common sense. A person may direct a film released before their birth; nothing can be answered without looking it up.
"""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from spadework.core.seeds import rng
from spadework.corpus.worlds.lexicon import Split, lexicon, name_space, split_of
from spadework.corpus.worlds.schema import ATTRIBUTES, RELATIONS, SHARES
from spadework.corpus.worlds.world import Entity, Stale, World, WorldConfig

__all__ = ["build_world"]

T = TypeVar("T")
_LETTERS: dict[Split, str] = {"train": "w", "dev": "d", "test": "t"}
_NAMESAKE_TRIES = 40


def build_world(config: WorldConfig) -> World:
    """Generate a world.

    The same configuration gives the same world on every machine; another seed or split gives another one.
    """
    random = rng("world", config.seed, config.split)
    stale_count = int(config.pages * config.stale_rate)
    count = config.pages - stale_count
    prefix = f"{_LETTERS[config.split]}{config.seed}-"
    types = _types(count, random)
    names = _Names(config, random)
    entities: dict[str, Entity] = {}
    members: dict[str, list[str]] = {name: [] for name in SHARES}
    titles: dict[str, list[str]] = {name: [] for name in SHARES}
    for number, kind in enumerate(types):
        near = titles[kind] if random.random() < config.namesake_rate else ()
        title = names.draw(near)
        aliases = (names.draw(),) if random.random() < config.alias_rate else ()
        entity = Entity(f"{prefix}{number}", title, kind, aliases)
        entities[entity.id] = entity
        members[kind].append(entity.id)
        titles[kind].append(title)
    facts = _facts(entities, members, random)
    attributes = {entity.id: _numbers(entity.type, random) for entity in entities.values()}
    stale = _stale(entities, members, facts, [f"{prefix}{count + number}" for number in range(stale_count)], random)
    dead = tuple(names.draw() for _ in range(16)) if config.dead_link_rate else ()
    return World(config=config, entities=entities, facts=facts, attributes=attributes, stale=stale, dead_titles=dead)


def _pick(options: Sequence[T], random: Random) -> T:
    return options[int(random.random() * len(options))]


def _types(count: int, random: Random) -> list[str]:
    """The type of every entity: shares exact up to rounding, order random."""
    types = [kind for kind, share in SHARES.items() for _ in range(int(count * share))]
    types += ["person"] * (count - len(types))
    random.shuffle(types)
    return types


class _Names:
    """Draws full names of one split that are unique in the world, the order of the words apart."""

    def __init__(self, config: WorldConfig, random: Random) -> None:
        self.split, self.random, self.words = config.split, random, lexicon()
        # Drawing with rejection stays fast up to half of the space.
        self.length = 2 if config.pages * (1 + config.alias_rate) < name_space(config.split) / 2 else 3
        self.taken: set[tuple[str, ...]] = set()

    def draw(self, near: Sequence[str] = ()) -> str:
        """A new name; one that shares a word with one of the given names if there are any and one is free."""
        if near:
            base = _pick(near, self.random).split()
            for _ in range(_NAMESAKE_TRIES):
                words = list(base)
                words[int(self.random.random() * len(words))] = _pick(self.words, self.random)
                if name := self._take(words):
                    return name
        while True:
            if name := self._take([_pick(self.words, self.random) for _ in range(self.length)]):
                return name

    def _take(self, words: list[str]) -> str | None:
        name = " ".join(words)
        key = tuple(sorted(words))
        if split_of(name) != self.split or len(set(words)) < len(words) or key in self.taken:
            return None
        self.taken.add(key)
        return name


def _facts(entities: dict[str, Entity], members: dict[str, list[str]], random: Random) -> dict[str, dict[str, str]]:
    """An object of the right type for every relation of every entity, never the entity itself."""
    partners: dict[str, dict[str, str]] = {}
    for kind, relations in RELATIONS.items():
        for relation in relations:
            if relation.symmetric:
                shuffled = list(members[kind])
                random.shuffle(shuffled)
                pairs = list(zip(shuffled[::2], shuffled[1::2], strict=False))
                partners[relation.name] = dict(pairs) | {second: first for first, second in pairs}
    facts: dict[str, dict[str, str]] = {}
    for entity in entities.values():
        own = facts[entity.id] = {}
        for relation in RELATIONS[entity.type]:
            if relation.symmetric:
                if entity.id in partners[relation.name]:
                    own[relation.name] = partners[relation.name][entity.id]
            else:
                own[relation.name] = _other(members[relation.target], (entity.id,), random)
    return facts


def _other(options: Sequence[str], excluded: Sequence[str], random: Random) -> str:
    while True:
        choice = _pick(options, random)
        if choice not in excluded:
            return choice


def _numbers(kind: str, random: Random) -> dict[str, int]:
    return {number.name: number.low + int(random.random() * (number.high - number.low + 1)) for number in ATTRIBUTES[kind]}


def _stale(
    entities: dict[str, Entity],
    members: dict[str, list[str]],
    facts: dict[str, dict[str, str]],
    page_ids: list[str],
    random: Random,
) -> dict[str, Stale]:
    """Outdated copies of pages of different entities; one fact is always wrong and every other one with probability 1/2."""
    subjects = list(entities.values())
    random.shuffle(subjects)
    stale = {}
    for page_id, entity in zip(page_ids, subjects, strict=False):
        year = 1991 + int(random.random() * 20)
        targets = {relation.name: members[relation.target] for relation in RELATIONS[entity.type]}
        old = dict(facts[entity.id])
        changed = _pick(list(old), random)
        for relation, target in old.items():
            if relation == changed or random.random() < 0.5:
                old[relation] = _other(targets[relation], (entity.id, target), random)
        stale[page_id] = Stale(page_id, f"{entity.title} (archived {year})", entity.id, year, old)
    return stale
