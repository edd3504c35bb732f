"""All makers on a world, against the text of its pages: the answer is the only one, the question does not tell it, every page is needed."""

import re
from functools import cache

import pytest
from tests.synthesis.brute_force import Facts

from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.ledger import ledger_of
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.query import Query
from spadework.synthesis.statements import WorldGraph
from spadework.tasks.task import Task

ON_WORLDS = [name for name in makers.names() if makers.get(name).needs != "pages"]
QUERIED = [name for name in ON_WORLDS if name != "report"]
"""Makers whose tasks are queries on the graph; `report` has tests of its own."""


@cache
def graph() -> WorldGraph:
    return WorldGraph(build_world(WorldConfig(seed=2, pages=1_000, alias_rate=0.2)))


@cache
def facts() -> Facts:
    return Facts(graph().world)


@cache
def made(name: str) -> tuple[Task, ...]:
    return tuple(tasks(makers.build(name), graph(), seed=0, n=200))


def said(task: Task, query: Query, facts: Facts) -> bool:
    """Whether brute force says what the task says."""
    found = [[graph().names(one)[0] if one in graph().world.entities else one.removeprefix("=") for one in a] for a in facts.answers(query)]
    if task.meta.get("answerable") is False:
        return found == [[]]
    if "items" in task.meta:
        parts = [item[0] for item in task.meta["items"]]
        return parts == [one for part in found for one in part] if query.operation == "compose" else sorted(found[0]) == sorted(parts)
    return found == [[task.answers[0]]]


@pytest.mark.parametrize("name", QUERIED)
def test_the_answer_is_the_only_one(name: str) -> None:
    for task in made(name)[:60]:
        assert said(task, ledger_of(task).query, facts()), task.question


@pytest.mark.parametrize("name", [name for name in QUERIED if name != "rltr"])
def test_every_page_is_needed(name: str) -> None:
    for task in made(name)[:25]:
        for page in task.evidence if task.meta.get("answerable", True) else ():
            assert not said(task, ledger_of(task).query, facts().without(page)), (task.question, page)


@pytest.mark.parametrize("name", ON_WORLDS)
def test_no_question_tells_its_answer(name: str) -> None:
    for task in made(name):
        golds = [alias for item in task.meta.get("items", [task.answers]) for alias in item]
        assert not any(re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", task.question) for gold in golds), task.question
