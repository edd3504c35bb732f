"""Whether the ledger of a task is whole: its statements give the answer, and stand on the pages that it names."""

from spadework.core.errors import InputError
from spadework.corpus.document import Pages
from spadework.synthesis.ledger import ledger_of, rederive
from spadework.synthesis.statements import LedgerGraph, Statement
from spadework.tasks.task import Task

__all__ = ["audit"]


def audit(task: Task, corpus: Pages) -> list[str]:
    """What is wrong with the ledger of a task; empty if nothing is, or if it has none.

    Args:
        task: the task.
        corpus: where its pages are. A statement that is not located yet (`ledger.locate`) is not looked up.
    """
    if "ledger" not in task.meta:
        return []
    try:
        kept, graph = ledger_of(task), ledger_of(task).graph
        found = rederive(task)
    except InputError as error:
        return [str(error)]
    problems = [] if found == task.answers else [f"the ledger gives '{found[0]}', the gold answer is '{task.answers[0]}'"]
    if kept.documents != task.evidence:
        problems.append("the pages of the ledger are not the evidence")
    problems += [f"{one.document} does not say: {_said(one, graph)}" for one in kept.statements if not _stands(one, graph, corpus)]
    return problems


def _stands(statement: Statement, graph: LedgerGraph, corpus: Pages) -> bool:
    if statement.start < 0:
        return True
    page = corpus.get(statement.document)
    said = page.text[statement.start : statement.end].casefold() if page is not None else ""
    return any(name.casefold() in said for name in graph.names(statement.object))


def _said(statement: Statement, graph: LedgerGraph) -> str:
    subject, relation, object = graph.name(statement.subject), statement.relation, graph.name(statement.object)
    return relation.replace("{s}", subject).replace("{o}", object) if "{o}" in relation else f"{subject} {relation} {object}"
