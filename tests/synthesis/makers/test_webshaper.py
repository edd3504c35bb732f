from functools import cache

from tests.synthesis.brute_force import Facts

from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.draft import guarded
from spadework.synthesis.ledger import ledger_of
from spadework.synthesis.makers.maker import tasks
from spadework.synthesis.makers.webshaper import WebShaper
from spadework.synthesis.query import OneOf, Variable
from spadework.synthesis.statements import WorldGraph
from spadework.tasks.task import Task


@cache
def graph() -> WorldGraph:
    return WorldGraph(build_world(WorldConfig(seed=2, pages=1_000)))


@cache
def made() -> tuple[Task, ...]:
    return tuple(tasks(WebShaper(), graph(), seed=0, n=150))


def test_constants_are_out_of_the_way() -> None:
    for task in made():
        query = ledger_of(task).query
        assert guarded(query)
        assert all(isinstance(triple.subject, Variable) or isinstance(triple.object, Variable) for triple in query.triples)


def test_every_answer_is_the_only_one() -> None:
    facts = Facts(graph().world)
    for task in made()[:60]:
        (answer,) = facts.targets(ledger_of(task).query)
        assert task.answers == graph().names(answer)


def test_more_layers_are_more_pages() -> None:
    def pages(layers: int) -> float:
        drawn = tasks(WebShaper(layers=(layers, layers), seed_edges=(1, 1), union=0), graph(), seed=0, n=60)
        return sum(len(ledger_of(task).query.triples) for task in drawn) / 60

    one, two, three = pages(1), pages(2), pages(3)
    assert one < two < three


def test_some_constants_are_merged() -> None:
    def merged(task: Task) -> bool:
        return any(isinstance(end, OneOf) for triple in ledger_of(task).query.triples for end in (triple.subject, triple.object))

    assert sum(map(merged, tasks(WebShaper(union=1), graph(), seed=0, n=50))) >= 8
    assert not any(map(merged, tasks(WebShaper(union=0), graph(), seed=0, n=50)))
