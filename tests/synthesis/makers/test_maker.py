from functools import cache
from itertools import islice
from random import Random

import pytest

from spadework.core.errors import ConfigError, InputError
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.rewards.matching import em
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.draft import Draft
from spadework.synthesis.ledger import ledger_of, locate, rederive
from spadework.synthesis.makers.maker import Maker, finish, makers, question_key, register, task_at, tasks
from spadework.synthesis.operators import compose, count, list_all, walk
from spadework.synthesis.query import Initial, Query, Triple, Variable
from spadework.synthesis.statements import Graph, WorldGraph
from spadework.tasks.task import Task
from spadework.tasks.validate import validate

X = Variable("v0")


@cache
def graph() -> WorldGraph:
    return WorldGraph(build_world(WorldConfig(seed=5, pages=1_000, alias_rate=0.3)))


class OneHop(Maker):
    """Draws a look-up, and nothing one time in three."""

    registered_as = "one-hop"

    def draw(self, graph: Graph, random: Random) -> Draft | None:
        return None if random.random() < 1 / 3 else walk(graph, random, edges=1, jump=0, forward=True)


class Fixed(Maker):
    """Always the same task."""

    registered_as = "fixed"

    def draw(self, graph: Graph, random: Random) -> Task:
        return Task(id="fixed", question="Who?", answers=("Ada",))


class WorldsOnly(OneHop):
    needs = "world"


def pages(*texts: str) -> CorpusGraph:
    titles = ("Ada Moon", "Cy Sand", "Port Vale")
    return CorpusGraph(MemoryCorpus([Document(id=str(i), title=titles[i], text=text) for i, text in enumerate(texts)]))


@pytest.mark.parametrize("name", [name for name in makers.names() if makers.get(name).needs != "pages"])
def test_every_maker_keeps_what_its_answers_rest_on(name: str) -> None:
    made = list(tasks(makers.build(name), graph(), seed=1, n=200))
    assert len({task.question for task in made}) == len({task.id for task in made}) == 200
    for task in made:
        assert rederive(task) == task.answers
        assert Task.model_validate_json(task.model_dump_json()) == task
        assert task.kind == name and task.source == graph().source and task.hops == len(task.evidence)
        assert task.evidence == ledger_of(task).documents
    for task in made[:20]:
        for statement in ledger_of(locate(task, graph())).statements:
            page = graph().world.get(statement.document)
            assert page is not None and graph().name(statement.object) in page.text[statement.start : statement.end]
        assert validate(task, graph().world, em) == []


def test_the_same_seed_gives_the_same_tasks_from_anywhere() -> None:
    made = list(tasks(OneHop(), graph(), seed=1, n=60))
    assert made == list(tasks(OneHop(), graph(), seed=1, n=60))
    assert made != list(tasks(OneHop(), graph(), seed=2, n=60))
    first, rest = made[:25], made[25:]
    resumed = tasks(OneHop(), graph(), seed=1, n=35, start=first[-1].meta["draw"] + 1, seen=[task.question for task in first])
    assert list(resumed) == rest
    # What two processes draw of it, put together.
    drawn = [task for index in range(made[-1].meta["draw"] + 1) if (task := task_at(OneHop(), graph(), 1, index))]
    assert list({question_key(task.question): task for task in reversed(drawn)}.values())[::-1] == made


def test_tasks_are_drawn_as_they_are_asked_for() -> None:
    assert len(list(islice(tasks(OneHop(), graph(), seed=1, n=10**9), 3))) == 3
    assert list(tasks(OneHop(), graph(), seed=1, n=0)) == []


def test_a_question_is_known_again() -> None:
    assert question_key("Who  is it?") == question_key("who is IT?\n") != question_key("Who was it?")
    assert len(question_key("x")) == 8


def test_too_few_tasks_are_an_error_that_says_how_many() -> None:
    stream = tasks(Fixed(), graph(), seed=0, n=2)
    assert next(stream).meta["draw"] == 0
    with pytest.raises(InputError, match=r"world:\w+ has about 1 different tasks for maker 'fixed' and 2 are wanted; ask for fewer"):
        next(stream)


def test_a_corpus_without_links_is_an_error() -> None:
    with pytest.raises(InputError, match=r"corpus-\w+ has no links between its pages, and maker 'one-hop' follows links"):
        next(tasks(OneHop(), pages("He knew nobody at all in this town.", "Nor did he or she."), seed=0, n=1))
    linked = pages("Ada Moon lived with Cy Sand for years.", "Nothing more.")
    assert next(tasks(OneHop(), linked, seed=0, n=1)).answers == ("Cy Sand",)


def test_a_maker_of_worlds_wants_a_world() -> None:
    with pytest.raises(InputError, match="needs the graph of a world and corpus-"):
        next(tasks(WorldsOnly(), pages("x", "y"), seed=0, n=1))
    assert next(tasks(WorldsOnly(), graph(), seed=0, n=1)).kind == "one-hop"


def test_steps_are_recorded_where_the_answer_can_be_looked_up_from_names() -> None:
    g = graph()
    chain = next(made for seed in range(99) if (made := walk(g, Random(seed), edges=2, jump=0, forward=True)))
    task = finish(chain, g, Random(0), "chain")
    assert task is not None
    (first, second) = task.meta["steps"]
    assert first[2] == second[0] and second[2] == task.answers[0] and first[0] in task.question
    kept = ledger_of(task).statements
    assert [first, second] == [[g.name(edge.subject), edge.relation, g.name(edge.object)] for edge in kept]
    born = [(person, g.objects(person, "birthplace")[0]) for person in g.of_type("person")]
    person, city = next(pair for pair in born if len(g.subjects("birthplace", pair[1])) == 1)
    backwards = Draft(Query(X, (Triple(X, "birthplace", city),)), ({X: person},))
    asked = finish(backwards, g, Random(0), "x")
    assert asked is not None and asked.meta["steps"] == [[g.name(person), "birthplace", g.name(city)]]
    vague = Draft(Query(X, backwards.query.triples, (Initial(X, g.name(person)[0]),)), ({X: person},))
    asked = finish(vague, g, Random(0), "x")
    assert asked is not None and "steps" not in asked.meta


def test_answers_with_several_parts() -> None:
    g = graph()
    walks = [made for seed in range(200) if (made := walk(g, Random(seed), edges=2))]
    listed = next(made for base in walks if (made := list_all(g, base, Random(0))))
    counted = next(made for base in walks if (made := count(g, base, Random(0))))
    task = finish(listed, g, Random(0), "x")
    assert task is not None and task.meta["items"] == [list(g.names(witness[X])) for witness in listed.witnesses]
    assert task.answers == ("; ".join(item[0] for item in task.meta["items"]),) == rederive(task)
    both = compose([walks[0], counted])
    assert both is not None
    task = finish(both, g, Random(0), "x")
    assert task is not None and task.meta["items"] == [list(g.names(walks[0].answer)), [str(len(counted.witnesses))]]
    assert rederive(task) == task.answers and "items" not in finish(counted, g, Random(0), "x").meta  # type: ignore[union-attr]


def test_makers_stand_on_a_shelf() -> None:
    assert {"sailorfog", "webshaper"} <= set(makers.names())
    with pytest.raises(ConfigError, match="unknown maker 'sailorfig'; did you mean 'sailorfog'"):
        makers.get("sailorfig")
    with pytest.raises(ValueError, match="registered twice"):
        register("webshaper")(OneHop)
