"""What a run has spent on calls that really went out, kept over restarts, so that a budget is a cap and not a cap per process.

Lines are appended and never rewritten. A price that is known is paid before its call goes out, so neither calls in flight together nor a
kill lets a run pass its budget; a price that only the answer tells can pass it by the calls in flight.
"""

import json
from pathlib import Path

from spadework.core.errors import InputError
from spadework.core.events import append_text
from spadework.tools.limits import Budget

__all__ = ["BudgetError", "Spending"]


class BudgetError(InputError):
    """The run's budget is used up: the run ends in order, and can be resumed with a higher one."""


class Spending:
    """The account of a run."""

    def __init__(self, budget: Budget, path: Path | None = None) -> None:
        """Open the account.

        Args:
            budget: of the run.
            path: a file of lines that outlives the process; None keeps the account in memory.

        Raises:
            InputError: the file holds something else.
        """
        self.budget, self.path = budget, path
        self.limited = budget.calls is not None or budget.dollars is not None
        self.calls, self.dollars = 0, 0.0
        if path is None or not path.is_file():
            return
        # What follows the last line end was torn by a kill before its call went out.
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], start=1):
            try:
                entry = json.loads(line)
                self.calls += int(entry["calls"])
                self.dollars += float(entry["dollars"])
            except (ValueError, KeyError, TypeError):
                raise InputError(f"{path}:{number}: not a line of a run's spending; restore the file") from None

    def reserve(self, dollars: float) -> None:
        """Pay the known price of a call that is about to go out.

        Raises:
            BudgetError: there is not enough left.
            InputError: the disk is full.
        """
        if self.budget.calls is not None and self.calls >= self.budget.calls:
            raise BudgetError(
                f"the run's budget of {self.budget.calls} calls is used up; raise tools.gateway.run_budget.calls and continue with --resume"
            )
        limit, planned = self.budget.dollars, self.dollars + dollars
        # Sums of prices such as 0.1 are not exact. A call without a price may still cost something, so it stops at the limit too.
        if limit is not None and (planned > limit * (1 + 1e-9) or planned == self.dollars >= limit > 0):
            raise BudgetError(
                f"the run's budget of ${limit:g} is used up (${self.dollars:.4g} spent); "
                "raise tools.gateway.run_budget.dollars and continue with --resume"
            )
        self._add(1, dollars)

    def correct(self, dollars: float) -> None:
        """Write down by how much the price of a call differs from what was reserved; a call that failed gives its price back."""
        if dollars:
            self._add(0, dollars)

    def _add(self, calls: int, dollars: float) -> None:
        self.calls += calls
        self.dollars += dollars
        if self.limited and self.path is not None:
            append_text(self.path, json.dumps({"calls": calls, "dollars": dollars}) + "\n")
