from collections import Counter
from functools import cache
from itertools import pairwise

import pytest
from tests.synthesis.brute_force import Facts

from spadework.core.errors import ConfigError
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.ledger import ledger_of
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.makers.sailorfog import SailorFog
from spadework.synthesis.query_json import dump_query
from spadework.synthesis.statements import WorldGraph
from spadework.tasks.task import Task


@cache
def graph() -> WorldGraph:
    return WorldGraph(build_world(WorldConfig(seed=2, pages=1_000)))


@cache
def made() -> tuple[Task, ...]:
    return tuple(tasks(SailorFog(), graph(), seed=0, n=150))


def test_levels() -> None:
    levels = Counter(task.meta["level"] for task in made())
    assert set(levels) == {1, 2, 3} and min(levels.values()) >= 25
    for task in made():
        query = ledger_of(task).query
        if task.meta["level"] == 1:
            assert len(task.meta["steps"]) == task.hops and not query.conditions
        if task.meta["level"] == 2:
            assert not query.conditions
            steps = task.meta["steps"]
            assert steps[-1][2] not in task.answers or any(before[2] != after[0] for before, after in pairwise(steps))
        if task.meta["level"] == 3:
            assert query.conditions and "steps" not in task.meta
    assert {task.meta["level"] for task in tasks(SailorFog(levels=(3,)), graph(), seed=0, n=10)} == {3}


def test_every_answer_is_the_only_one_and_every_page_is_needed() -> None:
    facts = Facts(graph().world)
    for task in made()[:60]:
        kept = ledger_of(task)
        (answer,) = facts.targets(kept.query)
        assert task.answers == graph().names(answer)
        for index in range(len(kept.query.triples)):
            triples = kept.query.triples[:index] + kept.query.triples[index + 1 :]
            rest = type(kept.query)(kept.query.target, triples, kept.query.conditions)
            assert len(facts.targets(rest)) > 1, dump_query(kept.query)


def test_sizes() -> None:
    assert all(2 <= task.hops <= 6 for task in made()) and {task.hops for task in made()} >= {2, 3, 4}
    small = tasks(SailorFog(edges=(2, 2), hops=(2, 2)), graph(), seed=0, n=20)
    assert {(task.hops, len(ledger_of(task).query.triples) <= 4) for task in small} == {(2, True)}


def test_options_are_checked() -> None:
    for options in ({"levels": [4]}, {"levels": []}, {"jump": 2}, {"fog": 1}):
        with pytest.raises(ConfigError):
            makers.build("sailorfog", options)
