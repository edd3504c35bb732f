"""Tasks from a world's graph: exact answers, exact evidence.

- chain: 1 to 4 relations followed one after the other, all entities distinct ("What is Ondal Brin's capital mayor?");
- intersection: two constraints that exactly one entity satisfies, neither of which is enough alone;
- count: how many entities have a relation to another one;
- comparison: which of two entities is older, larger, longer ...

Relations are functional, so a chain has one answer. Evidence is always current pages, never stale copies, and `hops` is the number of
evidence pages. `meta["steps"]` lists [subject title, relation, object] in solving order. All questions of a call are different and the
same seed gives the same tasks.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

from pydantic import Field

from spadework.core.config import Config
from spadework.core.errors import InputError
from spadework.core.seeds import rng
from spadework.corpus.worlds.schema import ATTRIBUTES, PLURALS
from spadework.corpus.worlds.world import World
from spadework.tasks.task import Task

__all__ = ["CHAIN_PHRASINGS", "GraphConfig", "graph_tasks", "make_chains", "make_comparisons", "make_counts", "make_intersections"]

T = TypeVar("T")
_PATIENCE = 20_000
"""Draws in a row without a new question after which a world counts as exhausted."""
_MOST_COUNTED = 9
CHAIN_PHRASINGS = 5


class GraphConfig(Config):
    """How many tasks of each kind."""

    chains: dict[int, int] = Field(default_factory=lambda: {1: 50, 2: 50, 3: 50})
    """Number of chains by their number of hops, 1 to 4."""
    intersections: int = Field(default=20, ge=0)
    """Tasks with two constraints."""
    counts: int = Field(default=20, ge=0)
    """Tasks that ask how many."""
    comparisons: int = Field(default=20, ge=0)
    """Tasks that ask which of two."""
    phrasings: int = Field(default=1, ge=1, le=CHAIN_PHRASINGS)
    """Ways of asking that chains are drawn from (see `make_chains`)."""


def graph_tasks(world: World, config: GraphConfig, seed: int) -> list[Task]:
    """Tasks of all kinds, kind after kind.

    Raises:
        InputError: the world has too few different questions of a kind.
    """
    return [
        *make_chains(world, seed=seed, counts=config.chains, phrasings=config.phrasings),
        *make_intersections(world, seed=seed, count=config.intersections),
        *make_counts(world, seed=seed, count=config.counts),
        *make_comparisons(world, seed=seed, count=config.comparisons),
    ]


def make_chains(world: World, *, seed: int, counts: Mapping[int, int], phrasings: int = 1) -> list[Task]:
    """Multi-hop chains.

    Args:
        world: where they are drawn from.
        seed: other seeds give other chains.
        counts: number of tasks by number of hops, 1 to 4.
        phrasings: ways of asking to draw from, 1 to 5; the first is "What is Ondal Brin's capital mayor?".

    Raises:
        InputError: hops or phrasings out of range, or the world has too few different chains.
    """
    if not set(counts) <= {1, 2, 3, 4}:
        raise InputError(f"chains have 1 to 4 hops, not {sorted(set(counts) - {1, 2, 3, 4})}")
    if not 1 <= phrasings <= CHAIN_PHRASINGS:
        raise InputError(f"chains have 1 to {CHAIN_PHRASINGS} phrasings, not {phrasings}")
    starts = list(world.entities)
    tasks: list[Task] = []
    for hops in sorted(counts):

        def draw(random: Random, hops: int = hops) -> Task | None:
            walk = [_pick(starts, random)]
            relations: list[str] = []
            for _ in range(hops):
                relations.append(_pick(list(world.facts[walk[-1]]), random))
                walk.append(world.facts[walk[-1]][relations[-1]])
            if len(set(walk)) <= hops:
                return None
            titles = [world.entities[entity].title for entity in walk]
            steps = [list(step) for step in zip(titles, relations, titles[1:], strict=False)]
            style = int(random.random() * phrasings)
            question = _ask_chain(titles[0], relations, world.entities[walk[-1]].type, style)
            return _task(world, "chain", question, world.names(walk[-1]), walk[:-1], steps)

        tasks += _draw(f"{hops}-hop chains", counts[hops], draw, rng("chains", seed, hops, world.content_hash))
    return tasks


def make_intersections(world: World, *, seed: int, count: int) -> list[Task]:
    """Questions with two constraints that exactly one entity satisfies; each alone fits several.

    Raises:
        InputError: the world has too few of them.
    """
    entities = list(world.entities.values())

    def draw(random: Random) -> Task | None:
        entity = _pick(entities, random)
        facts = list(world.facts[entity.id].items())
        random.shuffle(facts)
        constraints = facts[:2]
        alone = [len(world.matching(entity.type, [constraint])) for constraint in constraints]
        if min(alone) < 2 or world.matching(entity.type, constraints) != [entity.id]:
            return None
        steps = [[entity.title, relation, world.entities[target].title] for relation, target in constraints]
        (_, first, a), (_, second, b) = steps
        question = f"Which {entity.type} has {first} {a} and {second} {b}?"
        return _task(world, "intersection", question, world.names(entity.id), [entity.id], steps)

    return _draw("intersections", count, draw, rng("intersections", seed, world.content_hash))


def make_counts(world: World, *, seed: int, count: int) -> list[Task]:
    """Questions for the number (2 to 9) of entities of a type that have a relation to one entity. The evidence is the page of each of them.

    Raises:
        InputError: the world has too few of them.
    """
    groups = [(key, found) for key, found in world.subjects.items() if 2 <= len(found) <= _MOST_COUNTED]

    def draw(random: Random) -> Task | None:
        (kind, relation, target), found = _pick(groups, random)
        title = world.entities[target].title
        steps = [[world.entities[entity].title, relation, title] for entity in found]
        return _task(world, "count", f"How many {PLURALS[kind]} have {relation} {title}?", (str(len(found)),), found, steps)

    return _draw("counts", count, draw, rng("counts", seed, world.content_hash))


def make_comparisons(world: World, *, seed: int, count: int) -> list[Task]:
    """Questions which of two entities of one type is older, larger ...; never a tie. The evidence is both pages.

    Raises:
        InputError: the world has too few of them.
    """
    members: dict[str, list[str]] = {}
    for entity in world.entities.values():
        members.setdefault(entity.type, []).append(entity.id)
    kinds = [(kind, number) for kind, numbers in ATTRIBUTES.items() for number in numbers]

    def draw(random: Random) -> Task | None:
        kind, number = _pick(kinds, random)
        first, second = _pick(members[kind], random), _pick(members[kind], random)
        winner = world.compare(first, second, number.name)
        if winner is None:
            return None
        steps = [[world.entities[entity].title, number.name, str(world.attributes[entity][number.name])] for entity in (first, second)]
        question = f"Which {kind} {number.asks}, {steps[0][0]} or {steps[1][0]}?"
        return _task(world, "comparison", question, world.names(winner), [first, second], steps)

    return _draw("comparisons", count, draw, rng("comparisons", seed, world.content_hash))


def _pick(options: Sequence[T], random: Random) -> T:
    return options[int(random.random() * len(options))]


def _ask_chain(title: str, relations: Sequence[str], answer_type: str, style: int) -> str:
    # In the order of the look-ups first: a tiny model that can copy what follows can then take the next relation from the question.
    chain = f"{title}'s {' '.join(relations)}"
    nested = f"{' of the '.join(reversed(relations))} of {title}"
    if style == 0:
        return f"What is {chain}?"
    if style == 1:
        return f"Which {answer_type} is {chain}?"
    if style == 2:
        return f"Name {chain}."
    if style == 3:
        return f"What is the {nested}?"
    return f"Start at {title} and follow: {', then '.join(relations)}. Where do you arrive?"


def _task(world: World, kind: str, question: str, answers: Sequence[str], evidence: Sequence[str], steps: list[list[str]]) -> Task:
    source = f"world:{world.content_hash[:12]}"
    name = hashlib.sha256(f"{source}\n{question}".encode()).hexdigest()[:12]
    return Task(
        id=f"{kind}-{name}",
        question=question,
        answers=tuple(answers),
        evidence=tuple(evidence),
        hops=len(evidence),
        kind=kind,
        source=source,
        meta={"steps": steps},
    )


def _draw(what: str, count: int, draw: Callable[[Random], Task | None], random: Random) -> list[Task]:
    """Draw until there are `count` different questions."""
    tasks: dict[str, Task] = {}
    in_vain = 0
    while len(tasks) < count:
        task = draw(random)
        if task is not None and task.question not in tasks:
            tasks[task.question] = task
            in_vain = 0
        elif (in_vain := in_vain + 1) == _PATIENCE:
            raise InputError(
                f"the world has about {len(tasks)} different {what} and {count} are wanted; ask for fewer or generate more pages"
            )
    return list(tasks.values())
