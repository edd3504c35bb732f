import re
from collections import Counter
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spadework.core.errors import InputError
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.schema import ATTRIBUTES, PLURALS
from spadework.corpus.worlds.world import World, WorldConfig
from spadework.synthesis.graph import GraphConfig, graph_tasks, make_chains, make_comparisons, make_counts, make_intersections
from spadework.tasks.task import Task

CHAIN = re.compile(r"What is ([A-Z][a-z]+ [A-Z][a-z]+)'s (.+)\?")


@cache
def noisy(seed: int = 0) -> World:
    return build_world(
        WorldConfig(seed=seed, pages=1_000, alias_rate=0.5, distractor_rate=0.5, stale_rate=0.2, table_rate=0.5, prose_rate=0.5)
    )


@cache
def pages(seed: int = 0) -> tuple[dict[str, dict[str, str]], dict[str, str], dict[str, tuple[str, ...]]]:
    """What the text of the current pages alone says: facts, type and names by title. Reads neither the graph nor its solver."""
    facts: dict[str, dict[str, str]] = {}
    types: dict[str, str] = {}
    names: dict[str, tuple[str, ...]] = {}
    for page in noisy(seed):
        lines = page.text.splitlines()
        if any("This copy was archived" in line for line in lines):
            continue
        types[page.title] = re.match(rf"{page.title} is a (\w+)\.", lines[0])[1]  # type: ignore[index]
        names[page.title] = (page.title, *re.findall("also known as ([A-Z][a-z]+ [A-Z][a-z]+)", lines[0]))
        stated = [re.fullmatch(rf"{page.title} ([a-z]+) ([A-Z][a-z]+ [A-Z][a-z]+|\d+)", line) for line in lines]
        facts[page.title] = {match[1]: match[2] for match in stated if match}
    return facts, types, names


def tasks_of_all_kinds(seed: int) -> list[Task]:
    return graph_tasks(noisy(), GraphConfig(chains={1: 60, 2: 60, 3: 60, 4: 60}, intersections=30, counts=30, comparisons=60), seed)


def answers_from_text(task: Task) -> tuple[str, ...]:
    """The answer that a reader of all pages gives to the words of the question."""
    facts, types, names = pages()
    if match := CHAIN.fullmatch(task.question):
        title = match[1]
        for relation in match[2].split(" "):
            title = facts[title][relation]
        return names[title]
    if match := re.fullmatch(r"Which (\w+) has (\w+) (\w+ \w+) and (\w+) (\w+ \w+)\?", task.question):
        kind, first, a, second, b = match.groups()
        (found,) = [title for title, own in facts.items() if types[title] == kind and own.get(first) == a and own.get(second) == b]
        return names[found]
    if match := re.fullmatch(r"How many (\w+) have (\w+) (\w+ \w+)\?", task.question):
        plural, relation, target = match.groups()
        return (str(sum(PLURALS[types[title]] == plural and own.get(relation) == target for title, own in facts.items())),)
    match = re.fullmatch(r"Which (\w+) (.+), (\w+ \w+) or (\w+ \w+)\?", task.question)
    assert match, task.question
    number = next(number for number in ATTRIBUTES[match[1]] if number.asks == match[2])
    first, second = int(facts[match[3]][number.name]), int(facts[match[4]][number.name])
    assert first != second
    earlier = {"was founded earlier", "was born earlier", "was released earlier", "was printed earlier", "opened earlier"}
    return names[match[3] if (first < second) == (match[2] in earlier) else match[4]]


@pytest.mark.parametrize("seed", [0, 1])
def test_every_answer_is_what_the_pages_say(seed: int) -> None:
    tasks = tasks_of_all_kinds(seed)
    assert Counter(task.kind for task in tasks) == {"chain": 240, "intersection": 30, "count": 30, "comparison": 60}
    for task in tasks:
        assert task.answers == answers_from_text(task), task.question


def test_the_evidence_states_the_steps_in_order() -> None:
    world = noisy()
    for task in tasks_of_all_kinds(2):
        steps = task.meta["steps"]
        assert len(set(task.evidence)) == len(task.evidence) == task.hops > 0
        assert not set(task.evidence) & set(world.stale)
        per_page = list(task.evidence) if task.kind != "intersection" else [*task.evidence, *task.evidence]
        for page_id, (subject, relation, target) in zip(per_page, steps, strict=True):
            page = world.get(page_id)
            assert page is not None and page.title == subject
            assert f"{subject} {relation} {target}" in page.text.splitlines()


def test_chains_visit_distinct_entities() -> None:
    for task in make_chains(noisy(), seed=3, counts={1: 50, 2: 50, 3: 50, 4: 50}):
        steps = task.meta["steps"]
        visited = [steps[0][0], *(target for _, _, target in steps)]
        assert len(set(visited)) == len(visited) == task.hops + 1
        assert all(step[2] == following[0] for step, following in pairwise(steps))
        relations = " ".join(relation for _, relation, _ in steps)
        assert task.question == f"What is {steps[0][0]}'s {relations}?"


def test_other_phrasings_ask_for_the_same_chain() -> None:
    tasks = make_chains(noisy(), seed=0, counts={2: 100}, phrasings=5)
    kinds = Counter(task.question.split()[0] for task in tasks)
    assert set(kinds) == {"What", "Which", "Name", "Start"} and min(kinds.values()) > 10
    for task in tasks:
        (title, first, _), (_, second, _) = task.meta["steps"]
        assert title in task.question and first in task.question and second in task.question
        assert not re.search(r"[^ ]" + title, task.question)


def test_neither_constraint_of_an_intersection_is_enough() -> None:
    facts, types, _ = pages()
    for task in make_intersections(noisy(), seed=0, count=30):
        for title, relation, target in task.meta["steps"]:
            assert sum(own.get(relation) == target and types[other] == types[title] for other, own in facts.items()) > 1


def test_counts_are_small_numbers_but_not_one() -> None:
    assert {task.answers[0] for task in make_counts(noisy(), seed=0, count=500)} == set("23456789")


def test_questions_and_ids_are_unique_and_the_world_is_named() -> None:
    tasks = tasks_of_all_kinds(0)
    assert len({task.question for task in tasks}) == len({task.id for task in tasks}) == len(tasks)
    assert {task.source for task in tasks} == {f"world:{noisy().content_hash[:12]}"}


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31))
def test_the_same_seed_gives_the_same_tasks(seed: int) -> None:
    config = GraphConfig(chains={2: 5}, intersections=2, counts=2, comparisons=2, phrasings=4)
    assert graph_tasks(noisy(), config, seed) == graph_tasks(noisy(), config, seed)
    assert graph_tasks(noisy(), config, seed) != graph_tasks(noisy(), config, seed + 1)


def test_tasks_of_different_splits_share_no_name() -> None:
    names = []
    for split in ("train", "test"):
        world = build_world(WorldConfig(pages=1_000, split=split))  # type: ignore[arg-type]
        tasks = make_chains(world, seed=0, counts={1: 100, 3: 100})
        names.append({name for task in tasks for step in task.meta["steps"] for name in (step[0], step[2])})
    assert len(names[0]) > 300 and not names[0] & names[1]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({0: 1}, r"1 to 4 hops, not \[0\]"),
        ({2: 1, 5: 1, 6: 1}, r"not \[5, 6\]"),
        ({1: 5_000}, "the world has about .* different 1-hop chains"),
    ],
)
def test_impossible_wishes_are_refused(wanted: dict[int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_chains(noisy(), seed=0, counts=wanted)


def test_too_many_of_a_kind_are_refused() -> None:
    for make, what in ((make_counts, "counts"), (make_intersections, "intersections")):
        with pytest.raises(InputError, match=f"different {what} and 20000 are wanted; ask for fewer"):
            make(noisy(), seed=0, count=20_000)
    with pytest.raises(InputError, match="1 to 5 phrasings, not 9"):
        make_chains(noisy(), seed=0, counts={1: 1}, phrasings=9)
    assert len(make_comparisons(noisy(), seed=0, count=0)) == 0
