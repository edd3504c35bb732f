"""The ledger of a task: everything that its answer rests on, so that it can be derived again without the corpus.

It stands at `task.meta["ledger"]` as plain JSON: the statements with page and characters, the query, names and types of the entities in
them, what each operator did, and what each gate said. `rederive` answers the query from the statements alone; a task whose answer is not
what comes out is damaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from spadework.core.errors import InputError
from spadework.synthesis.query import Query, answer, solve
from spadework.synthesis.query_json import dump_query, load_query
from spadework.synthesis.statements import Graph, LedgerGraph, Statement
from spadework.tasks.task import Task

__all__ = ["Edit", "Ledger", "Verdict", "dump_ledger", "ledger_of", "locate", "rederive", "with_ledger", "with_verdicts"]


class Edit(NamedTuple):
    """What one operator did."""

    operator: str
    did: str
    """In words."""
    before: int
    """Clues of the query (triples and conditions) before it; the same after it."""
    after: int
    level: int = 0
    """Of an obfuscation, 1 to 3."""


class Verdict(NamedTuple):
    """What one gate said."""

    gate: str
    passed: bool
    reason: str
    evidence: list[str] = []  # noqa: RUF012  # never written to
    """Whatever the gate relied on: ids of documents, rival answers, replies of a model."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a task rests on."""

    query: Query
    statements: tuple[Statement, ...]
    names: dict[str, tuple[str, ...]]
    """Of every entity in the statements, the name first."""
    types: dict[str, str] = field(default_factory=dict)
    """Where they are known."""
    edits: tuple[Edit, ...] = ()
    gates: tuple[Verdict, ...] = ()

    @property
    def documents(self) -> tuple[str, ...]:
        """Ids of the pages of the statements, in their order."""
        return tuple(dict.fromkeys(statement.document for statement in self.statements))

    @property
    def graph(self) -> LedgerGraph:
        """The graph of the statements."""
        return LedgerGraph(self.statements, self.names, self.types)


def dump_ledger(ledger: Ledger) -> dict[str, Any]:
    """The ledger as plain JSON values."""
    return {
        "query": dump_query(ledger.query),
        "statements": [list(statement) for statement in ledger.statements],
        "documents": list(ledger.documents),
        "names": {key: list(names) for key, names in ledger.names.items()},
        "types": ledger.types,
        "edits": [list(edit) for edit in ledger.edits],
        "gates": [list(verdict) for verdict in ledger.gates],
    }


def ledger_of(task: Task) -> Ledger:
    """The ledger of a task.

    Raises:
        InputError: it has none, or a damaged one.
    """
    values = task.meta.get("ledger")
    if not isinstance(values, dict):
        raise InputError(f"task '{task.id}' has no ledger; make it with `spadework synth`")
    try:
        return Ledger(
            load_query(values["query"]),
            tuple(Statement(*statement) for statement in values["statements"]),
            {key: tuple(names) for key, names in values["names"].items()},
            dict(values["types"]),
            tuple(Edit(*edit) for edit in values["edits"]),
            tuple(Verdict(*verdict) for verdict in values["gates"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"task '{task.id}': damaged ledger ({type(error).__name__}: {error})") from None


def with_ledger(task: Task, ledger: Ledger) -> Task:
    """The task with another ledger."""
    return task.model_copy(update={"meta": {**task.meta, "ledger": dump_ledger(ledger)}})


def with_verdicts(task: Task, verdicts: Sequence[Verdict]) -> Task:
    """The task with more verdicts of gates in its ledger."""
    ledger = ledger_of(task)
    return with_ledger(task, replace(ledger, gates=(*ledger.gates, *verdicts)))


def locate(task: Task, graph: Graph) -> Task:
    """The task with the characters of every statement on its page (`Graph.located`). Reads pages, so makers leave it to the writer."""
    ledger = ledger_of(task)
    return with_ledger(task, replace(ledger, statements=tuple(map(graph.located, ledger.statements))))


def rederive(task: Task) -> tuple[str, ...]:
    """The answers of a task from its ledger alone; what `task.answers` should be.

    Of a task that is not answerable (`meta["answerable"]` is false) the statements must give none; then the gold answers are to abstain.

    Raises:
        InputError: the ledger is missing or damaged, or its statements give no single answer, or one where there should be none.
    """
    ledger = ledger_of(task)
    if task.meta.get("answerable") is False:
        if found := solve(ledger.query, ledger.graph, 1):
            raise InputError(f"task '{task.id}' is said to have no answer, and its ledger gives {found[0]}")
        return task.answers
    return answer(ledger.query, ledger.graph)
