"""Gates in a row: what passes all of them is kept, and every verdict stands in the ledger of its task.

A task meets the gates in their order and the first that drops it is its last, so cheap gates come first. Tasks flow through in batches:
a gate with a model asks about a batch at once, and memory does not grow with the number of tasks, except for what a gate remembers. A gate
whose infrastructure fails leaves the task undecided: neither kept nor dropped.

A curation that goes on (`resume.py`) is given the decisions of the first tasks. Only gates that remember tasks see these again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from spadework.core.errors import BrokenError, InputError
from spadework.synthesis.gates.gate import Check, Gate, Ground
from spadework.synthesis.ledger import Verdict, with_verdicts
from spadework.tasks.task import Task

__all__ = ["Decision", "curate", "missing"]

_BATCH = 256
_WHERE = {
    "graph": "give the world or corpus that the tasks come from (--world, --corpus)",
    "pages": "give the world or corpus that the tasks come from (--world, --corpus)",
    "corpus": "give the world or corpus that the tasks come from (--world, --corpus)",
    "attempts": "give trajectories of a policy at these tasks (--attempts)",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a task."""

    task: Task
    """With the new verdicts."""
    fate: Literal["kept", "dropped", "undecided"]
    gate: str = ""
    """The gate that dropped it or could not decide."""
    why: str = ""


def curate(tasks: Iterable[Task], gates: Sequence[Gate], ground: Ground, *, done: Sequence[Decision] = ()) -> Iterator[Decision]:
    """Put tasks through gates.

    Args:
        tasks: read as they are needed.
        gates: in the order in which they are asked.
        ground: what they check against.
        done: what the same gates have decided of the first tasks.

    Returns:
        One decision per further task, in their order.

    Raises:
        InputError: the ground lacks what a gate needs, a task does not come from it, or has no ledger where a gate reads it.
    """
    for gate in gates:
        if lacking := missing(gate, ground):
            raise InputError(f"gate '{gate.registered_as}' needs {lacking}; {_WHERE[lacking]}")
    checks = [gate.open(ground) for gate in gates]

    def decide(chunk: Sequence[Task]) -> list[Decision]:
        verdicts: list[list[Verdict]] = [[] for _ in chunk]
        broken: dict[int, tuple[str, str]] = {}
        left = list(range(len(chunk)))
        for gate, check in zip(gates, checks, strict=True):
            gate.prepare([chunk[number] for number in left])
            for number in left:
                try:
                    verdicts[number].append(check(chunk[number]))
                except BrokenError as error:
                    broken[number] = gate.registered_as, str(error)
            left = [number for number in left if number not in broken and verdicts[number][-1].passed]
        return [_decision(task, verdicts[number], broken.get(number)) for number, task in enumerate(chunk)]

    stream = iter(tasks)
    _remind(list(zip(gates, checks, strict=True)), list(islice(stream, len(done))), done)
    while chunk := list(islice(stream, _BATCH)):
        yield from decide(chunk)


def _remind(gates: Sequence[tuple[Gate, Check]], tasks: Sequence[Task], done: Sequence[Decision]) -> None:
    """Show the gates that remember tasks what an earlier process has shown them."""
    places = {gate.registered_as: place for place, (gate, _) in enumerate(gates)}

    def saw(one: Decision, place: int) -> bool:
        return one.fate == "kept" or place < places[one.gate] or (one.fate == "dropped" and place == places[one.gate])

    for place, (gate, check) in enumerate(gates):
        seen = [task for task, one in zip(tasks, done, strict=True) if saw(one, place)] if gate.remembers else []
        for start in range(0, len(seen), _BATCH):
            gate.prepare(seen[start : start + _BATCH])
            for task in seen[start : start + _BATCH]:
                check(task)


def missing(gate: Gate, ground: Ground) -> str:
    """What a gate needs and the ground does not have; empty if it has all."""
    have = {"graph": ground.graph, "pages": ground.pages, "corpus": ground.corpus, "attempts": ground.attempts or None}
    return next((need for need in gate.needs if have[need] is None), "")


def _decision(task: Task, verdicts: list[Verdict], broken: tuple[str, str] | None) -> Decision:
    marked = _with(task, verdicts)
    if broken is not None:
        return Decision(marked, "undecided", *broken)
    if verdicts and not verdicts[-1].passed:
        return Decision(marked, "dropped", verdicts[-1].gate, verdicts[-1].reason)
    return Decision(marked, "kept")


def _with(task: Task, verdicts: list[Verdict]) -> Task:
    """The task with verdicts in its ledger, or in `meta["gates"]` if it has none."""
    if "ledger" in task.meta:
        return with_verdicts(task, verdicts)
    return task.model_copy(update={"meta": {**task.meta, "gates": [*task.meta.get("gates", []), *map(list, verdicts)]}})
