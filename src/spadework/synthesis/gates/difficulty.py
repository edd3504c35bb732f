"""How hard is the task for a policy? By trajectories of that policy at it, which `rollout/` makes and `spadework curate --attempts` reads.

    pass-rate       right attempts within a window: 1 to n - 1 is DAPO's 0 < p < 1; `spare=0` only wants one right answer (WebShaper: 1
                    of 5, RAG-R1: 1 of 10); `fewest=0` only drops what is always right (WebSailor: 8 of 8)
    tool-aided      not solved even once by a strong model with search (DeepDive: 4 of 4 fail)
    first-success   how many rollouts until the first right one: easy below 10, medium to 20, hard above (R1-Searcher)

An attempt is right if its answer is an exact match. What infrastructure broke is no attempt; a task without attempts stays undecided.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from spadework.core.errors import BrokenError
from spadework.rewards.matching import em
from spadework.synthesis.gates.gate import Check, Gate, Ground, Need, register
from spadework.synthesis.ledger import Verdict
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status

__all__ = ["FirstSuccess", "PassRate", "ToolAided", "difficulty"]

Bin = Literal["easy", "medium", "hard"]
_EASY, _MEDIUM = 10, 20


@register("pass-rate", formula="{fewest} <= right attempts <= n - {spare}", source="DAPO, 2503.14476; WebSailor, 2507.02592")
class PassRate(Gate):
    """The policy is right sometimes: fewest <= right <= n - spare."""

    needs: ClassVar[tuple[Need, ...]] = ("attempts",)
    fewest: int = Field(default=1, ge=0)
    """Right attempts."""
    spare: int = Field(default=1, ge=0)
    """Attempts that must not be right."""

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""

        def check(task: Task) -> Verdict:
            outcomes = _outcomes(task, ground)
            right, said = sum(outcomes), f"{sum(outcomes)} of {len(outcomes)} attempts are right"
            return self.keep(said) if self.fewest <= right <= len(outcomes) - self.spare else self.drop(said)

        return check


@register("tool-aided", formula="0 of {attempts} or more attempts are right", source="DeepDive, 2509.10446")
class ToolAided(Gate):
    """A strong model with search is never right."""

    needs: ClassVar[tuple[Need, ...]] = ("attempts",)
    attempts: int = Field(default=4, gt=0)
    """Fewer say too little: the task stays undecided."""

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""

        def check(task: Task) -> Verdict:
            outcomes = _outcomes(task, ground)
            said = f"{sum(outcomes)} of {len(outcomes)} attempts are right"
            if any(outcomes):
                return self.drop(said)
            if len(outcomes) < self.attempts:
                raise BrokenError(f"{len(outcomes)} attempts at task '{task.id}', and {self.attempts} are needed")
            return self.keep(said)

        return check


@register(
    "first-success",
    formula="first right rollout: easy < 10 <= medium <= 20 < hard; keeps {keeps}",
    source="R1-Searcher, 2503.05592",
)
class FirstSuccess(Gate):
    """The task is in one of the wanted bins of difficulty."""

    needs: ClassVar[tuple[Need, ...]] = ("attempts",)
    keeps: tuple[Bin, ...] = ("medium", "hard")
    """The bins; a task that is never solved is in none."""

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""

        def check(task: Task) -> Verdict:
            outcomes = _outcomes(task, ground)
            found = difficulty(outcomes)
            if found is None:
                return self.drop(f"none of {len(outcomes)} attempts is right")
            said = f"{found}: right at attempt {outcomes.index(True) + 1}"
            return self.keep(said, [found]) if found in self.keeps else self.drop(said, [found])

        return check


def difficulty(outcomes: Sequence[bool]) -> Bin | None:
    """The bin of a task by its attempts in order; None if none is right."""
    if True not in outcomes:
        return None
    first = outcomes.index(True) + 1
    return "easy" if first < _EASY else "medium" if first <= _MEDIUM else "hard"


def _outcomes(task: Task, ground: Ground) -> list[bool]:
    usable = [attempt for attempt in ground.attempts.get(task.id, ()) if attempt.status is not Status.BROKEN]
    if not usable:
        raise BrokenError(f"no attempt at task '{task.id}'")
    return [bool(attempt.answer and em(attempt.answer, task.answers)) for attempt in usable]
