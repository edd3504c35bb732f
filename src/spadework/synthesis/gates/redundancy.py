"""Is every clue needed? Without any one of them, and what hangs on the target by it alone, there must be other answers.

This is what makes a question of four clues harder than one of two (InfoSeek's under-determined and over-determined questions, arXiv
2509.00375). Asked of an exact graph only: on a corpus every sentence is a relation of its own and would be called enough.
"""

from dataclasses import replace
from typing import ClassVar

from spadework.core.errors import InputError
from spadework.synthesis.draft import without
from spadework.synthesis.gates.gate import Check, Gate, Ground, Need, graph_of, register
from spadework.synthesis.ledger import Verdict, ledger_of
from spadework.synthesis.query import Query, solve, unique
from spadework.synthesis.statements import Graph
from spadework.tasks.task import Task

__all__ = ["Redundancy"]


@register("redundancy", formula="without any one clue there are other answers", source="InfoSeek, 2509.00375")
class Redundancy(Gate):
    """Without any one clue there are other answers."""

    needs: ClassVar[tuple[Need, ...]] = ("graph",)

    def open(self, ground: Ground) -> Check:
        """See `Gate`.

        Raises:
            InputError: the graph is not exact.
        """
        assert ground.graph is not None
        if not ground.graph.exact:
            raise InputError(f"gate 'redundancy' needs the graph of a world, and {ground.graph.source} is none; leave the gate out")

        def check(task: Task) -> Verdict:
            if spare := _spare(ledger_of(task).query, graph_of(ground, task)):
                return self.drop("a clue is not needed", [spare])
            return self.keep("every clue is needed")

        return check


def _spare(query: Query, graph: Graph) -> str:
    """The relation of a clue without which the answers are the same; empty if there is none."""
    if query.parts:
        return next(filter(None, (_spare(part, graph) for part in query.parts)), "")
    bare = replace(query, operation="find") if query.operation == "compare" else query
    wanted = set(solve(bare, graph, distinct=False))
    for index, triple in enumerate(query.triples):
        shorter = without(bare, index)
        if not shorter.triples:
            continue
        same = (
            unique(shorter, graph)
            if bare.operation == "find" and len(wanted) == 1
            else set(solve(shorter, graph, distinct=False)) == wanted
        )
        if same:
            return triple.relation
    return ""
