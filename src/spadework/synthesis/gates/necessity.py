"""Is every evidence page needed? Without any one of them the question must have no answer, or another one.

A page is taken away with all that the graph knows from it; then the query is asked again. On a world this is exact: whatever other pages
say, the question cannot be answered without this one. On the graph of a corpus a relation is one sentence, so the gate finds pages that
the query does not use and not a second page that says the same in other words.
"""

from collections.abc import Sequence
from typing import ClassVar

from spadework.core.errors import InputError
from spadework.synthesis.gates.gate import Check, Gate, Ground, Need, graph_of, register
from spadework.synthesis.ledger import Verdict, ledger_of
from spadework.synthesis.query import answer, unique
from spadework.synthesis.statements import Graph, Statement
from spadework.tasks.task import Task

__all__ = ["Necessity"]


@register("necessity", formula="without any one evidence page the answer is lost", source="InfoSeek, 2509.00375")
class Necessity(Gate):
    """Without any one evidence page the answer is lost."""

    needs: ClassVar[tuple[Need, ...]] = ("graph",)

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""

        def check(task: Task) -> Verdict:
            graph, query = graph_of(ground, task), ledger_of(task).query
            for page in task.evidence:
                rest = _Without(graph, page)
                try:
                    spare = unique(query, rest) and answer(query, rest) == task.answers
                except InputError:  # no single answer is left
                    spare = False
                if spare:
                    return self.drop("the answer is the same without an evidence page", [page])
            return self.keep(f"each of {len(task.evidence)} pages is needed", task.evidence)

        return check


class _Without:
    """A graph that has lost one page: nothing is known about what that page is about. Its names stay, which others may use."""

    def __init__(self, graph: Graph, page: str) -> None:
        self.graph, self.page = graph, page
        self.entities, self.exact, self.source = graph.entities, graph.exact, graph.source
        self.name, self.names, self.type, self.of_type = graph.name, graph.names, graph.type, graph.of_type
        self.document, self.located = graph.document, graph.located

    def outgoing(self, key: str) -> Sequence[Statement]:
        return [statement for statement in self.graph.outgoing(key) if statement.document != self.page]

    def incoming(self, key: str) -> Sequence[Statement]:
        return [statement for statement in self.graph.incoming(key) if statement.document != self.page]

    def objects(self, subject: str, relation: str) -> Sequence[str]:
        return () if self._lost(subject) else self.graph.objects(subject, relation)

    def subjects(self, relation: str, object: str) -> Sequence[str]:
        return self._left(self.graph.subjects(relation, object))

    def having(self, relation: str) -> Sequence[str]:
        return self._left(self.graph.having(relation))

    def between(self, relation: str, low: int, high: int) -> Sequence[str]:
        return self._left(self.graph.between(relation, low, high))

    def _lost(self, key: str) -> bool:
        return self.graph.document(key) == self.page

    def _left(self, keys: Sequence[str]) -> Sequence[str]:
        return [key for key in keys if not self._lost(key)]
