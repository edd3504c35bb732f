import json

import pytest

from spadework.core.errors import InputError
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.ledger import Edit, Ledger, Verdict, dump_ledger, ledger_of, locate, rederive, with_ledger, with_verdicts
from spadework.synthesis.query import Query, Triple, Variable
from spadework.synthesis.statements import Statement, WorldGraph
from spadework.tasks.task import Task

X = Variable("v0")
LEDGER = Ledger(
    Query(X, (Triple(X, "born", "p"), Triple("q", "mayor", X))),
    (Statement("q", "mayor", "a", "page-q", 4, 20), Statement("a", "born", "p", "page-a"), Statement("q", "area", "=7", "page-q")),
    {"a": ("Ada", "Lady A"), "p": ("Pax",), "q": ("Qum",)},
    {"a": "person"},
    (Edit("walk", "2 edges", 0, 2),),
    (Verdict("uniqueness", True, "one answer", ["page-a"]),),
)
TASK = Task(id="t", question="Which person?", answers=("Ada", "Lady A"), meta={"ledger": dump_ledger(LEDGER), "draw": 3})


def test_a_ledger_survives_being_stored() -> None:
    stored = Task.model_validate_json(TASK.model_dump_json())
    assert stored == TASK
    assert ledger_of(stored) == LEDGER
    assert json.loads(json.dumps(TASK.meta["ledger"])) == TASK.meta["ledger"]


def test_the_answer_is_derived_from_the_statements() -> None:
    assert rederive(TASK) == TASK.answers
    assert LEDGER.documents == ("page-q", "page-a")


def test_without_a_statement_there_is_no_answer() -> None:
    short = Ledger(LEDGER.query, LEDGER.statements[1:], LEDGER.names)
    with pytest.raises(InputError, match="the question has 0 answers on the ledger, not one"):
        rederive(with_ledger(TASK, short))


def test_with_a_rival_there_is_no_answer() -> None:
    rival = (Statement("b", "born", "p", "page-b"), Statement("q", "mayor", "b", "page-q"))
    with pytest.raises(InputError, match="the question has 2 answers"):
        rederive(with_ledger(TASK, Ledger(LEDGER.query, (*LEDGER.statements, *rival), {**LEDGER.names, "b": ("Bo",)})))


def test_verdicts_are_added() -> None:
    verdict = Verdict("necessity", False, "page-q is not needed", ["page-q"])
    marked = with_verdicts(TASK, [verdict])
    assert ledger_of(marked).gates == (*LEDGER.gates, verdict)
    assert marked.meta["draw"] == 3 and ledger_of(TASK).gates == LEDGER.gates


def test_statements_are_located_on_their_pages() -> None:
    graph = WorldGraph(build_world(WorldConfig(pages=1_000)))
    person = next(key for key in graph.entities if graph.type(key) == "person")
    statements = tuple(graph.outgoing(person))
    task = with_ledger(TASK, Ledger(LEDGER.query, statements, {}))
    for statement in ledger_of(locate(task, graph)).statements:
        text = graph.world.get(person).text  # type: ignore[union-attr]
        assert text[statement.start : statement.end].startswith(f"{graph.name(person)} {statement.relation} ")


@pytest.mark.parametrize("meta", [{}, {"ledger": 3}])
def test_a_task_without_a_ledger_is_refused(meta: dict) -> None:
    with pytest.raises(InputError, match="task 't' has no ledger; make it with `spadework synth`"):
        ledger_of(Task(id="t", question="?", answers=("a",), meta=meta))


@pytest.mark.parametrize("change", [{"statements": [["a"]]}, {"names": 4}, {"edits": [[]]}, {"gates": [["g"]]}])
def test_a_damaged_ledger_is_refused(change: dict) -> None:
    damaged = Task(id="t", question="?", answers=("a",), meta={"ledger": {**dump_ledger(LEDGER), **change}})
    with pytest.raises(InputError, match="task 't': damaged ledger"):
        ledger_of(damaged)
