"""The gate contract: a check that keeps a task or drops it, with a reason and what it relied on.

A gate is a frozen configuration. `open(ground)` gives the check of one run: a function from a task to a `Verdict`, which may remember the
tasks that it has seen (duplicates) and reads what it needs of the ground. `prepare(tasks)` is called with every batch before its first
check, so that a gate with a model asks all its questions at once.

What infrastructure does wrong (`BrokenError`) is no verdict: the task stays undecided (`curation/curate.py`).
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from spadework.core.errors import InputError
from spadework.core.registry import Part, Registry
from spadework.corpus.document import Corpus, Pages
from spadework.synthesis.ledger import Verdict
from spadework.synthesis.statements import Graph
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Check", "Gate", "Ground", "Need", "gates", "graph_of", "register"]

Check = Callable[[Task], Verdict]
Need = Literal["graph", "pages", "corpus", "attempts"]


@dataclass(frozen=True, slots=True)
class Ground:
    """What gates check tasks against. A gate says in `needs` what it cannot do without."""

    graph: Graph | None = None
    """Of the world or corpus that the tasks were drawn from."""
    pages: Pages | None = None
    """Its pages."""
    corpus: Corpus | None = None
    """The same pages with search over them."""
    attempts: Mapping[str, Sequence[Trajectory]] = field(default_factory=dict)
    """Trajectories of a policy by task id, in the order in which they were made."""


class Gate(Part):
    """A check of single tasks; its defaults are the published setting where there is one."""

    needs: ClassVar[tuple[Need, ...]] = ()
    """What of the ground must be there."""
    remembers: ClassVar[bool] = False
    """Whether a verdict depends on the tasks before, so that a curation that goes on has to show them again."""

    @abstractmethod
    def open(self, ground: Ground) -> Check:
        """Begin a run over tasks.

        Args:
            ground: has what the gate needs.

        Raises:
            InputError: a file that the gate compares with cannot be read.
        """

    def prepare(self, tasks: Sequence[Task]) -> None:  # most gates ask nobody
        """Ask a model about all of these tasks at once; the checks that follow find its replies."""

    def keep(self, reason: str, evidence: Sequence[str] = ()) -> Verdict:
        """The task passes."""
        return Verdict(self.registered_as, True, reason, list(evidence))

    def drop(self, reason: str, evidence: Sequence[str] = ()) -> Verdict:
        """The task does not pass."""
        return Verdict(self.registered_as, False, reason, list(evidence))


gates: Registry[Gate] = Registry("gate", "spadework.synthesis.gates")
"""All registered gates."""
register = gates.register


def graph_of(ground: Ground, task: Task) -> Graph:
    """The graph that a task was drawn from.

    Raises:
        InputError: the ground has another one.
    """
    assert ground.graph is not None
    if task.source != ground.graph.source:
        raise InputError(f"task '{task.id}' comes from {task.source or 'nowhere'} and the graph is {ground.graph.source}; give its own")
    return ground.graph
