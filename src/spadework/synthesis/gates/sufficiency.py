"""Is the evidence enough? The answer, with all its other names, comes out of the ledger's statements alone, and these are the evidence."""

from spadework.core.errors import InputError
from spadework.synthesis.gates.gate import Check, Gate, Ground, register
from spadework.synthesis.ledger import Verdict, ledger_of, rederive
from spadework.tasks.task import Task

__all__ = ["Sufficiency"]


@register("sufficiency", formula="the ledger alone gives the answer", source="InfoSeek, 2509.00375")
class Sufficiency(Gate):
    """The ledger alone gives the answer."""

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""

        def check(task: Task) -> Verdict:
            ledger = ledger_of(task)
            if other := set(task.evidence) ^ set(ledger.documents):
                return self.drop("evidence and ledger name different pages", sorted(other))
            try:
                found = rederive(task)
            except InputError as error:
                return self.drop(str(error))
            if found != task.answers:
                return self.drop("the ledger gives another answer", found)
            return self.keep(f"{len(ledger.statements)} statements give the answer", task.evidence)

        return check
