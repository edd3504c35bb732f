"""Is the task well made? Invariant 9: its own gold answer scores 1, a wrong answer scores less, and its evidence exists.

`tasks/validate.py` is the rule; the scorer is exact match. Kinds whose answer can be read on a page must have it on an evidence page.
"""

from typing import ClassVar

from spadework.rewards.matching import em
from spadework.synthesis.gates.gate import Check, Gate, Ground, Need, register
from spadework.synthesis.ledger import Verdict
from spadework.tasks.task import Task
from spadework.tasks.validate import validate

__all__ = ["Schema"]


@register("schema", formula="gold scores 1, wrong answers less, evidence exists", source="Spadework, invariant 9")
class Schema(Gate):
    """`tasks.validate` finds nothing wrong."""

    needs: ClassVar[tuple[Need, ...]] = ("pages",)

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""
        pages = ground.pages
        assert pages is not None

        def check(task: Task) -> Verdict:
            problems = validate(task, pages, em)
            return self.drop("; ".join(problems)) if problems else self.keep("its gold answer scores 1 and its evidence exists")

        return check
