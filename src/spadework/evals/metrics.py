"""From tasks and their trajectories to a report card: what was solved, what it cost, what went wrong; every number with interval and n.

The unit is the question: several attempts at a task are averaged first. Quality (success, F1, evidence) divides by the number of tasks, so
a task without a usable attempt counts as unsolved and shows in `n_scored` of `n_total`; many published scorers drop such tasks silently.
Cost (calls, tokens, errors) divides by the tasks that have a usable attempt, because what a broken attempt would have cost is unknown.

A card keeps its questions, so two cards, fresh or read from JSON, can be compared in pairs. Nothing is read from `trajectory.reward`: the
card means the same whatever rubric trained the policy.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from spadework.core.errors import InputError
from spadework.evals.statistics import Difference, Estimate, holm, mean_interval, paired_difference, t_quantile
from spadework.rewards import matching
from spadework.rewards.format import malformed
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status, Trajectory

__all__ = ["Comparison", "Question", "ReportCard", "compare", "report_card"]

_QUALITY = ("success", "f1", "contains", "evidence_recall")
_COST = ("calls", "tokens", "format_errors", "call_errors")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Question(_Record):
    """One task's results, averaged over its attempts; broken attempts are counted and otherwise left out."""

    id: str
    hops: int
    attempts: int
    scored: int
    """Attempts that infrastructure did not break. If 0, quality is 0 and cost unknown."""
    truncated: float
    """Share of all attempts."""
    broken: float
    """Share of all attempts."""
    success: float = 0.0
    """Exact match."""
    f1: float = 0.0
    """HotpotQA's F1."""
    contains: float = 0.0
    """A gold stands in the answer. Not exact match."""
    evidence_recall: float | None = None
    """Share of the evidence documents that were shown; None for a task that names none."""
    calls: float = 0.0
    tokens: float = 0.0
    """Sampled tokens."""
    format_errors: float = 0.0
    """Turns that could not be read."""
    call_errors: float = 0.0
    """Calls that were refused, malformed ones included."""


class ReportCard(_Record):
    """What an evaluation says. Rates and means are per question."""

    n_total: int
    """Tasks: the denominator of every quality figure."""
    n_scored: int
    """Tasks with at least one attempt that infrastructure did not break."""
    attempts: dict[str, int]
    """Attempts by status."""
    success: Estimate
    """Exact match."""
    f1: Estimate
    contains: Estimate
    success_by_hops: dict[int, Estimate]
    evidence_recall: Estimate | None
    """None if no task names evidence."""
    calls: Estimate | None
    """Tool calls per question; this and the other costs are None if nothing was scored."""
    calls_per_solved: Estimate | None
    """All calls spent, those of failures too, per question solved; None if none was."""
    tokens: Estimate | None
    """Sampled tokens per question."""
    format_errors: Estimate | None
    call_errors: Estimate | None
    truncated: Estimate | None
    """Share of attempts that ran out of a budget; None if nothing was attempted."""
    broken: Estimate | None
    questions: tuple[Question, ...]

    def rows(self) -> list[tuple[str, Estimate]]:
        """The figures that exist, by name, in the order of a printed table."""
        figures: list[tuple[str, Estimate | None]] = [("success", self.success)]
        figures += [(f"success, {hops} hop{'s' if hops != 1 else ''}", figure) for hops, figure in self.success_by_hops.items()]
        names = ("f1", "contains", "evidence_recall", "calls", "calls_per_solved", *_COST[1:], "truncated", "broken")
        figures += [(name, getattr(self, name)) for name in names]
        return [(name, figure) for name, figure in figures if figure is not None]

    def to_json(self) -> str:
        """The card as JSON; `ReportCard.model_validate_json` reads it back."""
        return self.model_dump_json(indent=2)


class Comparison(_Record):
    """Two cards on the same questions: differences are first minus second."""

    differences: dict[str, Difference]
    """By figure. Cost is compared on the questions that are scored in both."""
    adjusted: dict[str, float]
    """Holm's p over all figures: read these when looking for any difference; a figure named beforehand keeps its own p."""


def report_card(tasks: Sequence[Task], trajectories: Iterable[Trajectory]) -> ReportCard:
    """Evaluate trajectories of tasks.

    Args:
        tasks: all tasks of the evaluation, attempted or not; at least one.
        trajectories: finished attempts, any number per task, in any order.

    Raises:
        InputError: no task; a task or an attempt stands twice; an attempt belongs to no task or is still running.
    """
    attempts = _by_task(tasks, trajectories)
    questions = tuple(_question(task, attempts[task.id]) for task in tasks)
    scored = [question for question in questions if question.scored]
    attempted = [question for question in questions if question.attempts]
    hops = sorted({question.hops for question in questions})
    recalls = [question.evidence_recall for question in questions if question.evidence_recall is not None]
    counts = Counter(trajectory.status.value for group in attempts.values() for trajectory in group)
    return ReportCard(
        n_total=len(questions),
        n_scored=len(scored),
        attempts={status.value: counts[status.value] for status in Status if status is not Status.RUNNING},
        success=mean_interval([question.success for question in questions]),
        f1=mean_interval([question.f1 for question in questions]),
        contains=mean_interval([question.contains for question in questions]),
        success_by_hops={n: mean_interval([question.success for question in questions if question.hops == n]) for n in hops},
        evidence_recall=mean_interval(recalls) if recalls else None,
        calls_per_solved=_ratio([question.calls for question in scored], [question.success for question in scored]),
        truncated=mean_interval([question.truncated for question in attempted]) if attempted else None,
        broken=mean_interval([question.broken for question in attempted]) if attempted else None,
        questions=questions,
        **{name: mean_interval([getattr(question, name) for question in scored], amounts=True) if scored else None for name in _COST},
    )


def compare(a: ReportCard, b: ReportCard) -> Comparison:
    """Paired differences, question by question.

    Args:
        a: the first system's card.
        b: the second's, on the same tasks.

    Raises:
        InputError: the cards are about different tasks, or fewer than two.
    """
    first, second = ({question.id: question for question in card.questions} for card in (a, b))
    if first.keys() != second.keys():
        missing = min(first.keys() ^ second.keys())
        raise InputError(f"the two report cards are about different tasks: '{missing}' stands in only one; evaluate both on the same tasks")
    if len(first) < 2:
        raise InputError("a paired comparison needs at least two tasks")
    differences = {}
    for name in (*_QUALITY, *_COST):
        pairs = [_values(first[key], second[key], name) for key in first]
        known = [pair for pair in pairs if None not in pair]
        if len(known) >= 2:
            differences[name] = paired_difference([x for x, _ in known], [y for _, y in known])
    return Comparison(differences=differences, adjusted=dict(zip(differences, holm([d.p for d in differences.values()]), strict=True)))


def _values(a: Question, b: Question, name: str) -> tuple[Any, Any]:
    """What two systems did on a question; None where it is unknown."""
    if name in _COST and not (a.scored and b.scored):
        return None, None
    return getattr(a, name), getattr(b, name)


def _by_task(tasks: Sequence[Task], trajectories: Iterable[Trajectory]) -> dict[str, list[Trajectory]]:
    if not tasks:
        raise InputError("an evaluation needs at least one task")
    attempts: dict[str, list[Trajectory]] = {task.id: [] for task in tasks}
    if len(attempts) < len(tasks):
        twice = Counter(task.id for task in tasks).most_common(1)[0][0]
        raise InputError(f"task '{twice}' stands twice in the evaluation; task ids must be unique")
    samples: defaultdict[str, set[int]] = defaultdict(set)
    for trajectory in trajectories:
        name = f"trajectory {trajectory.task_id}/{trajectory.sample}"
        if trajectory.task_id not in attempts:
            raise InputError(f"{name} belongs to no task of the evaluation; were its tasks left out?")
        if trajectory.status is Status.RUNNING:
            raise InputError(f"{name} is still running; finish or drop it before evaluating")
        if trajectory.sample in samples[trajectory.task_id]:
            raise InputError(f"{name} stands twice; was a file read twice?")
        samples[trajectory.task_id].add(trajectory.sample)
        attempts[trajectory.task_id].append(trajectory)
    return attempts


def _question(task: Task, attempts: Sequence[Trajectory]) -> Question:
    usable = [trajectory for trajectory in attempts if trajectory.status is not Status.BROKEN]
    evidence = set(task.evidence)

    def mean(measure: Callable[[Trajectory], float]) -> float:
        return math.fsum(map(measure, usable)) / len(usable) if usable else 0.0

    def answered(score: Callable[[str, Iterable[str]], float]) -> float:
        return mean(lambda trajectory: score(trajectory.answer, task.answers) if trajectory.answer is not None else 0.0)

    return Question(
        id=task.id,
        hops=task.hops,
        attempts=len(attempts),
        scored=len(usable),
        truncated=_share(attempts, Status.TRUNCATED),
        broken=_share(attempts, Status.BROKEN),
        success=answered(matching.em),
        f1=answered(matching.f1),
        contains=answered(matching.contains),
        evidence_recall=mean(lambda trajectory: len(evidence & trajectory.documents()) / len(evidence)) if evidence else None,
        calls=mean(lambda trajectory: trajectory.ledger.get("calls", 0.0)),
        tokens=mean(lambda trajectory: trajectory.num_sampled),
        format_errors=mean(lambda trajectory: sum(map(malformed, trajectory.generations()))),
        call_errors=mean(lambda trajectory: trajectory.ledger.get("errors", 0.0)),
    )


def _share(attempts: Sequence[Trajectory], status: Status) -> float:
    return sum(trajectory.status is status for trajectory in attempts) / len(attempts) if attempts else 0.0


def _ratio(amounts: Sequence[float], shares: Sequence[float]) -> Estimate | None:
    """Sum of amounts over sum of shares, with the delta method's interval: the residuals amount - ratio * share have mean 0."""
    total = math.fsum(shares)
    if not total:
        return None
    count = len(shares)
    ratio = math.fsum(amounts) / total
    if count < 2:
        return Estimate(mean=ratio, low=-math.inf, high=math.inf, n=count)
    squares = math.fsum((amount - ratio * share) ** 2 for amount, share in zip(amounts, shares, strict=True))
    half = t_quantile(0.975, count - 1) * math.sqrt(count / (count - 1) * squares) / total
    return Estimate(mean=ratio, low=ratio - half, high=ratio + half, n=count)
