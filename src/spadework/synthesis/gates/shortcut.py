"""Can the question be answered without the work that it seems to ask for?

Three ways are looked for in the question and its query: the question says the answer; two constants stand beside each other, so that
nothing is asked there; a constant stands beside the target although other clues are far away. The last two are WebShaper's rule (arXiv
2507.15061, section 3.3). It is stricter than need be: such a clue alone may fit many. Where the graph is exact `redundancy` asks that.
"""

from spadework.synthesis.draft import guarded
from spadework.synthesis.gates.gate import Check, Gate, Ground, register
from spadework.synthesis.ledger import Verdict, ledger_of
from spadework.synthesis.names import mentions
from spadework.synthesis.query import Query, Variable
from spadework.tasks.task import Task

__all__ = ["Shortcut"]

_SAID = ("yes", "no")


@register(
    "shortcut", formula="the question does not say the answer; no edge from constant to constant or target", source="WebShaper, 2507.15061"
)
class Shortcut(Gate):
    """The question does not say the answer, and no edge of its query leads from a constant to a constant or to the target."""

    edges: bool = True
    """False looks at the answer only: for recipes whose clues may name what stands beside the target."""

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""

        def check(task: Task) -> Verdict:
            items = task.meta.get("items") or [task.answers]
            for name in (name for item in items for name in item):
                if name.casefold() not in _SAID and not name.isdecimal() and mentions(task.question, name):
                    return self.drop("the question says the answer", [name])
            if self.edges and "ledger" in task.meta:
                for query in _single(ledger_of(task).query):
                    if edge := _short(query):
                        return self.drop("a clue leads past the others", [edge])
            return self.keep("no short cut was found")

        return check


def _single(query: Query) -> list[Query]:
    return [one for part in query.parts for one in _single(part)] if query.parts else [query]


def _short(query: Query) -> str:
    """The relation of an edge that is a short cut; empty if there is none."""
    for triple in query.triples:
        if not isinstance(triple.subject, Variable) and not isinstance(triple.object, Variable):
            return triple.relation
    if len(query.triples) < 2 or guarded(query):
        return ""
    for triple in query.triples:
        ends = (triple.subject, triple.object)
        if query.target in ends and not all(isinstance(end, Variable) for end in ends):
            return triple.relation
    return ""
