"""The gates that ask the graph and the ledger: what they keep of the makers, and what they drop of damaged tasks, one fault at a time."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from random import Random

import pytest

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.curation.curate import curate
from spadework.synthesis.draft import Draft, ledger
from spadework.synthesis.gates.gate import Ground, gates
from spadework.synthesis.ledger import Verdict, dump_ledger, ledger_of, with_ledger
from spadework.synthesis.makers.maker import finish, makers, tasks
from spadework.synthesis.operators import walk
from spadework.synthesis.query import Query, Triple, Variable
from spadework.synthesis.statements import WorldGraph
from spadework.synthesis.wording import word
from spadework.tasks.task import Task

EXACT = ("schema", "evidence", "uniqueness", "necessity", "sufficiency")
X, Y = Variable("v0"), Variable("v1")


@cache
def ground() -> Ground:
    world = build_world(WorldConfig(seed=5, pages=1_000, alias_rate=0.3))
    return Ground(graph=WorldGraph(world), pages=world)


@cache
def chain_of_two() -> Task:
    graph = ground().graph
    assert graph is not None
    made = (walk(graph, Random(seed), edges=2, jump=0, forward=True) for seed in range(99))
    task = finish(next(draft for draft in made if draft), graph, Random(0), "chain")
    assert task is not None
    return task


def ask(name: str, task: Task, where: Ground | None = None, **options: object) -> Verdict:
    [decision] = curate([task], [gates.build(name, options)], where or ground())
    return (ledger_of(decision.task).gates if "ledger" in task.meta else [Verdict(*v) for v in decision.task.meta["gates"]])[-1]


def hand_made(query: Query, bound: dict[Variable, str]) -> Task:
    graph = ground().graph
    assert graph is not None
    # Not by `finish`, which refuses what these gates are to find.
    draft = Draft(query, (bound,))
    question, kept = word(draft, graph, Random(0)), ledger(draft, graph)
    assert question is not None
    return Task(
        id="t",
        question=question,
        answers=graph.names(draft.answer),
        evidence=kept.documents,
        source=graph.source,
        meta={"ledger": dump_ledger(kept)},
    )


@pytest.mark.parametrize("maker", ["sailorfog", "webshaper"])
def test_what_the_makers_make_passes_the_exact_gates(maker: str) -> None:
    graph = ground().graph
    assert graph is not None
    decisions = list(curate(tasks(makers.build(maker), graph, seed=2, n=100), [gates.build(name) for name in EXACT], ground()))
    for decision in decisions:
        verdicts = ledger_of(decision.task).gates
        assert [verdict.gate for verdict in verdicts] == list(EXACT)[: len(verdicts)] and all(verdict.reason for verdict in verdicts)
        assert Task.model_validate_json(decision.task.model_dump_json()) == decision.task
    # Now and then two pages say what is needed, for example of two pupils of the same teacher; then neither is necessary.
    dropped = [decision.gate for decision in decisions if decision.fate != "kept"]
    assert set(dropped) <= {"necessity"} and len(dropped) <= 5


def test_the_first_gate_that_drops_a_task_is_its_last() -> None:
    wrong = chain_of_two().model_copy(update={"answers": ("Nobody",)})
    [decision] = curate([wrong], [gates.build(name) for name in ("uniqueness", "necessity")], ground())
    assert (decision.fate, decision.gate) == ("dropped", "uniqueness")
    assert [verdict.gate for verdict in ledger_of(decision.task).gates] == ["uniqueness"]


def test_schema() -> None:
    task = chain_of_two()
    assert ask("schema", task).passed
    assert "'gone' is not in the corpus" in ask("schema", task.model_copy(update={"evidence": ("gone",)})).reason
    assert "wrong answer '' scores 1" in ask("schema", Task(id="t", question="Who?", answers=("the",))).reason


def test_evidence_is_looked_up_on_its_page() -> None:
    task = chain_of_two()
    ledger = ledger_of(task)
    assert ask("evidence", task).passed and ask("evidence", task, Ground(pages=ground().pages)).passed
    first, second = ledger.statements
    other = next(key for key in ground().graph.entities if key not in (first.object, second.object, second.subject))  # type: ignore[union-attr]
    lies = replace(ledger, statements=(first, second._replace(object=other)), names=ledger.names | {other: ("Zork Quux",)})
    for where in (ground(), Ground(pages=ground().pages)):
        verdict = ask("evidence", with_ledger(task, lies), where)
        assert not verdict.passed and verdict.evidence[0] == second.subject
    assert "different pages" in ask("evidence", task.model_copy(update={"evidence": (*task.evidence, "x")})).reason
    located = replace(ledger, statements=(first._replace(start=0, end=3), second))
    assert not ask("evidence", with_ledger(task, located), Ground(pages=ground().pages)).passed


def test_evidence_without_a_ledger() -> None:
    where = Ground(pages=MemoryCorpus([Document(id="a", title="Kedun", text="Its mayor is Velor Tash.")]))
    task = Task(id="t", question="Who is the mayor of Kedun?", answers=("Velor Tash",), evidence=("a",))
    assert ask("evidence", task, where).passed
    assert ask("evidence", task.model_copy(update={"answers": ("yes",)}), where).passed
    assert not ask("evidence", task.model_copy(update={"answers": ("Ada",)}), where).passed
    assert ask("evidence", task.model_copy(update={"evidence": ("a", "b")}), where).evidence == ["b"]
    assert not ask("evidence", task.model_copy(update={"evidence": ()}), where).passed


def test_uniqueness_names_the_rivals() -> None:
    graph = ground().graph
    assert graph is not None
    city = next(key for key in graph.of_type("city") if len(graph.subjects("birthplace", key)) == 2)
    people = graph.subjects("birthplace", city)
    verdict = ask("uniqueness", hand_made(Query(X, (Triple(X, "birthplace", city),)), {X: people[0]}))
    assert not verdict.passed and set(verdict.evidence) == {graph.name(person) for person in people}
    assert ask("uniqueness", chain_of_two()).passed
    assert ask("uniqueness", chain_of_two().model_copy(update={"answers": ("Nobody",)})).reason == "the graph gives another answer"


def test_a_question_without_an_answer_must_have_none() -> None:
    graph = ground().graph
    assert graph is not None
    task = chain_of_two()
    twin = task.model_copy(update={"answers": ("unknown",), "meta": {**task.meta, "answerable": False}})
    assert ask("uniqueness", twin).reason == "it can be answered"
    ledger = ledger_of(twin)
    nothing = replace(ledger, query=Query(X, (Triple(X, "birthplace", "nowhere"),)))
    assert ask("uniqueness", with_ledger(twin, nothing)).passed
    assert ask("uniqueness", with_ledger(task, nothing)).reason == "nothing fits"


def test_necessity_finds_a_page_too_many() -> None:
    graph = ground().graph
    assert graph is not None
    assert ask("necessity", chain_of_two()).passed
    person, city = next(
        (key, home)
        for key in graph.of_type("person")
        for home in graph.objects(key, "birthplace")
        if len(graph.subjects("birthplace", home)) == 1 and graph.objects(home, "country")
    )
    country = graph.objects(city, "country")[0]
    # Who was born in this city, and in a city of that country? It is the birthplace of one person only.
    query = Query(X, (Triple(X, "birthplace", city), Triple(X, "birthplace", Y), Triple(Y, "country", country)))
    task = hand_made(query, {X: person, Y: city})
    assert set(task.evidence) == {person, city}
    verdict = ask("necessity", task)
    assert verdict.passed  # without the city's page no triple says which country it is in
    spare = task.model_copy(update={"evidence": (*task.evidence, country)})
    assert ask("necessity", spare) == Verdict("necessity", False, "the answer is the same without an evidence page", [country])


def test_necessity_sees_that_a_second_page_gives_the_same_answer() -> None:
    # Two people were born in the same city, so a clue that only says "somebody was born there" can do without the page of either.
    graph = ground().graph
    assert graph is not None
    city = next(key for key in graph.of_type("city") if len(graph.subjects("birthplace", key)) == 2)
    query = Query(X, (Triple(Y, "birthplace", X), Triple(Y, "birthplace", city)))
    first, _ = graph.subjects("birthplace", city)
    made = Draft(query, ({X: city, Y: first},))
    task = Task(
        id="t",
        question="?",
        answers=graph.names(city),
        evidence=(first,),
        source=graph.source,
        meta={"ledger": with_ledger(chain_of_two(), replace(ledger_of(chain_of_two()), query=made.query)).meta["ledger"]},
    )
    verdict = ask("necessity", task)
    assert (verdict.passed, verdict.evidence) == (False, [first])


def test_sufficiency_needs_every_statement() -> None:
    task = chain_of_two()
    ledger = ledger_of(task)
    assert ask("sufficiency", task).passed
    half = with_ledger(task, replace(ledger, statements=ledger.statements[1:]))
    assert ask("sufficiency", half).reason == "evidence and ledger name different pages"
    assert "0 answers" in ask("sufficiency", half.model_copy(update={"evidence": task.evidence[1:]})).reason
    assert ask("sufficiency", task.model_copy(update={"answers": ("x",)})).reason == "the ledger gives another answer"


def test_shortcut() -> None:
    task = chain_of_two()
    assert ask("shortcut", task).passed
    said = task.model_copy(update={"question": f"Is it {task.answers[0].upper()}?"})
    assert ask("shortcut", said) == Verdict("shortcut", False, "the question says the answer", [task.answers[0]])
    ledger = ledger_of(task)

    def with_query(*triples: Triple) -> Task:
        return with_ledger(task, replace(ledger, query=Query(X, triples)))

    beside = with_query(Triple(X, "mayor", Y), Triple(Y, "country", "c1"), Triple(X, "birthplace", "c2"))
    assert ask("shortcut", beside).evidence == ["birthplace"] and ask("shortcut", beside, edges=False).passed
    assert ask("shortcut", with_query(Triple("c1", "country", "c2"), Triple(X, "mayor", Y))).evidence == ["country"]
    assert ask("shortcut", with_query(Triple(X, "birthplace", "c2"))).passed  # a single look-up leads past nothing
    assert ask("shortcut", Task(id="t", question="Is Ada a poet, yes or no?", answers=("no",))).passed


def test_redundancy_names_the_clue() -> None:
    graph = ground().graph
    assert graph is not None
    task = chain_of_two()
    assert ask("redundancy", task).passed
    # One person was born in the city, so where that person went to school need not be said; if nobody else went there, neither the city.
    person, city, school = next(
        (key, home, place)
        for key in graph.of_type("person")
        for home in graph.objects(key, "birthplace")
        for place in graph.objects(key, "school")
        if len(graph.subjects("birthplace", home)) == 1 < len(graph.subjects("school", place))
    )
    query = Query(X, (Triple(X, "birthplace", city), Triple(X, "school", school)))
    assert ask("redundancy", hand_made(query, {X: person})) == Verdict("redundancy", False, "a clue is not needed", ["school"])


def test_sailorfog_has_no_clue_too_many() -> None:
    graph = ground().graph
    assert graph is not None
    made = tasks(makers.build("sailorfog"), graph, seed=3, n=100)
    assert {decision.fate for decision in curate(made, [gates.build("redundancy")], ground())} == {"kept"}


def corpus() -> MemoryCorpus:
    texts = {
        "Ada Moon": "Ada Moon wrote a book about Cy Sand in her youth.",
        "Cy Sand": "Cy Sand lived for many years in Port Vale.",
        "Port Vale": "Port Vale is a town by the sea.",
    }
    return MemoryCorpus([Document(id=str(i), title=title, text=text) for i, (title, text) in enumerate(texts.items())])


def test_exact_gates_on_documents() -> None:
    pages = corpus()
    where = Ground(graph=CorpusGraph(pages), pages=pages, corpus=pages)
    assert where.graph is not None
    made = list(tasks(makers.build("sailorfog", {"levels": (1,), "edges": (2, 2)}), where.graph, seed=0, n=1))
    chosen = [gates.build(name) for name in EXACT]
    assert [decision.fate for decision in curate(made, chosen, where)] == ["kept"]
    with pytest.raises(InputError, match="gate 'redundancy' needs the graph of a world"):
        list(curate(made, [gates.build("redundancy")], where))


def test_bad_input_is_one_clear_line() -> None:
    task = chain_of_two()
    with pytest.raises(InputError, match=r"gate 'uniqueness' needs graph; give the world or corpus .*--world"):
        list(curate([task], [gates.build("uniqueness")], Ground()))
    with pytest.raises(InputError, match=r"comes from elsewhere and the graph is world:"):
        ask("uniqueness", task.model_copy(update={"source": "elsewhere"}))
    with pytest.raises(InputError, match="has no ledger"):
        ask("sufficiency", Task(id="t", question="?", answers=("a",)))
    with pytest.raises(InputError, match="unknown gate 'uniquness'; did you mean 'uniqueness'"):
        gates.get("uniquness")


def test_tasks_flow_through_in_order_and_lazily() -> None:
    graph = ground().graph
    assert graph is not None
    read: list[str] = []

    def stream() -> Iterator[Task]:
        for task in tasks(makers.build("webshaper"), graph, seed=1, n=600):
            read.append(task.id)
            yield task

    decisions = curate(stream(), [gates.build("sufficiency")], ground())
    assert [next(decisions).task.id for _ in range(10)] == read[:10] and len(read) < 600
