"""Is there one answer, and is it the gold one? The query of the ledger, asked of the whole graph.

On a world this is exact. On the graph of a corpus it is exact for what the pages say (`statements.Graph.exact`); what else a page may mean
is the business of `alternatives`. A task that says of itself that it cannot be answered (`meta["answerable"]` is false) must have none.
"""

from typing import ClassVar

from spadework.synthesis.gates.gate import Check, Gate, Ground, Need, graph_of, register
from spadework.synthesis.ledger import Verdict, ledger_of
from spadework.synthesis.query import answer, solve, unique
from spadework.tasks.task import Task

__all__ = ["Uniqueness"]

_SHOWN = 5
"""Rival answers that the verdict names."""


@register("uniqueness", formula="the graph gives one answer, the gold one", source="WebShaper, 2507.15061; Tongyi, 2510.24701")
class Uniqueness(Gate):
    """The graph gives one answer, the gold one."""

    needs: ClassVar[tuple[Need, ...]] = ("graph",)

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""

        def check(task: Task) -> Verdict:
            graph, query = graph_of(ground, task), ledger_of(task).query
            if task.meta.get("answerable") is False:
                found = solve(query, graph, 1, distinct=False)
                return self.drop("it can be answered", [graph.name(found[0])]) if found else self.keep("nothing fits, as it says")
            if not unique(query, graph):
                rivals = [graph.name(value) for value in solve(query, graph, _SHOWN, distinct=False)]
                return self.drop("the answer is not the only one" if rivals else "nothing fits", rivals)
            found = list(answer(query, graph))
            if found != list(task.answers):
                return self.drop("the graph gives another answer", found)
            return self.keep("the graph gives this answer only", found[:1])

        return check
