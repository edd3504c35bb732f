"""The text of a page: what an encyclopedia article of a world reads like.

Line by line, so that a search snippet can quote a fact as it stands: an introduction, one line per fact and number
(`Ondal Brin mayor Velor Tash`) in an order of its own, sentences, lines about a near-named entity, a table, a reference to a page that
does not exist. Every name starts a line or follows a space, so a tokenizer that learns words needs no second form of a name. A fact line
begins with the name of the entity that it is about, and no mark stands between relation and object, because tiny models learn to look up
what directly follows its key several times faster.

A page's random choices depend on the seed and the page id alone. Whoever changes what a page says raises `FORMAT`.
"""

from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING

from spadework.core.seeds import rng
from spadework.corpus.document import Document
from spadework.corpus.worlds.schema import ATTRIBUTES, GENERIC_PROSE, PLURALS, RELATIONS, TABLES

if TYPE_CHECKING:
    from spadework.corpus.worlds.world import World

__all__ = ["FORMAT", "entity_page", "stale_page"]

FORMAT = 2
"""Version of the page text; part of a world's hash."""

_PROSE = {relation.name: GENERIC_PROSE + relation.prose for relations in RELATIONS.values() for relation in relations}
_NUMBER_PROSE = {(kind, number.name): number.prose for kind, numbers in ATTRIBUTES.items() for number in numbers}


def entity_page(world: "World", entity_id: str) -> Document:
    """The current page of an entity."""
    config, entity = world.config, world.entities[entity_id]
    random = rng("page", config.seed, entity_id)
    introduction = f"{entity.title} is a {entity.type}."
    if entity.aliases:
        introduction += f" It is also known as {', also known as '.join(entity.aliases)}."
    links: list[str] = []
    lines = _fact_lines(world, entity_id, world.facts[entity_id], random, links)
    lines += _prose_lines(world, entity_id, random)
    if random.random() < config.distractor_rate:
        lines += _distractor_lines(world, entity_id, random, links)
    if random.random() < config.table_rate:
        lines += _table_lines(world, entity_id, random, links)
    if random.random() < config.dead_link_rate:
        dead = world.dead_titles[int(random.random() * len(world.dead_titles))]
        lines.append(f"See also: {dead}")
        links.append(dead)
    if entity_id in world.archived:
        lines.append(f"This page is current. The copy archived in {world.archived[entity_id].year} is outdated.")
    return Document(id=entity_id, title=entity.title, text="\n".join([introduction, *lines]), links=tuple(dict.fromkeys(links)))


def stale_page(world: "World", page_id: str) -> Document:
    """An outdated copy of an entity's page. It says that it is one, and links to the current page."""
    page = world.stale[page_id]
    entity = world.entities[page.entity]
    random = rng("page", world.config.seed, page_id)
    links = [entity.title]
    lines = [
        f"{entity.title} is a {entity.type}.",
        f"This copy was archived in {page.year} and is outdated. The current page is {entity.title}",
        *_fact_lines(world, page.entity, page.facts, random, links),
    ]
    return Document(id=page_id, title=page.title, text="\n".join(lines), links=tuple(dict.fromkeys(links)))


def _fact_lines(world: "World", entity_id: str, facts: Mapping[str, str], random: Random, links: list[str]) -> list[str]:
    """One line per fact and number, shuffled; the objects are added to the links in the order of the lines."""
    title = world.entities[entity_id].title
    rows: list[tuple[str, str | int, bool]] = [(relation, world.entities[target].title, True) for relation, target in facts.items()]
    rows += [(name, value, False) for name, value in world.attributes[entity_id].items()]
    random.shuffle(rows)
    links += [str(value) for _, value, linked in rows if linked]
    return [f"{title} {name} {value}" for name, value, _ in rows]


def _prose_lines(world: "World", entity_id: str, random: Random) -> list[str]:
    """Sentences for some of the facts; the subject is sometimes called by its alias."""
    entity, rate = world.entities[entity_id], world.config.prose_rate
    names = world.names(entity_id)
    lines = []
    for relation, target in world.facts[entity_id].items():
        if random.random() < rate:
            sentences = _PROSE[relation]
            sentence = sentences[int(random.random() * len(sentences))]
            subject = names[int(random.random() * len(names))]
            lines.append(sentence.format(s=subject, r=relation, o=world.entities[target].title))
    for name, value in world.attributes[entity_id].items():
        if random.random() < rate:
            lines.append(_NUMBER_PROSE[entity.type, name].format(s=entity.title, o=value))
    return lines


def _distractor_lines(world: "World", entity_id: str, random: Random, links: list[str]) -> list[str]:
    """One or two true facts of another entity that shares a word of its name, of the same type if there is one."""
    entity = world.entities[entity_id]
    near = [other for word in entity.title.split() for other in world.near_names[word] if other != entity_id]
    near = [other for other in near if world.entities[other].type == entity.type] or near
    if not near:
        return []
    other = near[int(random.random() * len(near))]
    title = world.entities[other].title
    facts = list(world.facts[other].items())
    random.shuffle(facts)
    chosen = facts[: 1 + int(random.random() * 2)]
    links += [title, *(world.entities[target].title for _, target in chosen)]
    return [f"{title} {relation} {world.entities[target].title}" for relation, target in chosen]


def _table_lines(world: "World", entity_id: str, random: Random, links: list[str]) -> list[str]:
    """A complete Markdown table of the entities that have one relation to this one, if there are two or more."""
    entity = world.entities[entity_id]
    full = [
        (kind, relation, rows)
        for kind, relation in TABLES.get(entity.type, ())
        if len(rows := world.matching(kind, [(relation, entity_id)])) > 1
    ]
    if not full:
        return []
    kind, relation, rows = full[int(random.random() * len(full))]
    number = ATTRIBUTES[kind][0].name
    links += [world.entities[row].title for row in rows]
    return [
        f"## All {PLURALS[kind]} with {relation} {entity.title}",
        f"| {kind} | {number} |",
        "| --- | --- |",
        *(f"| {world.entities[row].title} | {world.attributes[row][number]} |" for row in rows),
    ]
