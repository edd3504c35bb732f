"""Does the task share a world, or a page of evidence, with the tasks of another split?

Worlds are held out as a whole: a task of the same world as an evaluation task leaks what the pages say. Of a corpus the pages are held
out: no evidence page of one split may be evidence in another. Pages are compared by id within one source.
"""

from pathlib import Path

from pydantic import Field

from spadework.synthesis.gates.contamination import read_benchmark
from spadework.synthesis.gates.gate import Check, Gate, Ground, register
from spadework.synthesis.ledger import Verdict
from spadework.tasks.task import Task

__all__ = ["Leakage"]

_WORLD = "world:"


@register("leakage", formula="no world and no evidence page of another split", source="Spadework")
class Leakage(Gate):
    """No world and no evidence page of another split."""

    against: tuple[Path, ...] = Field(min_length=1)
    """Task files of the other splits."""

    def open(self, ground: Ground) -> Check:
        """See `Gate`.

        Raises:
            InputError: a file cannot be read.
        """
        others = [task for path in self.against for task in read_benchmark(path)]
        worlds = {task.source for task in others if task.source.startswith(_WORLD)}
        pages = {(task.source, page) for task in others for page in task.evidence}

        def check(task: Task) -> Verdict:
            if task.source in worlds:
                return self.drop("its world is one of the other split", [task.source])
            if shared := [page for page in task.evidence if (task.source, page) in pages]:
                return self.drop("its evidence is evidence in the other split", shared)
            return self.keep(f"shares nothing with {len(others)} tasks of the other split")

        return check
