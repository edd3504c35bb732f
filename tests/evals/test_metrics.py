"""Report cards: denominators, attempts averaged per question, comparison in pairs."""

import math

import pytest

from spadework.core.errors import InputError
from spadework.core.messages import Message, Turn
from spadework.evals.metrics import ReportCard, compare, report_card
from spadework.evals.statistics import Estimate, mean_interval, wilson
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status, Trajectory


def task(name: str, *, hops: int = 1, evidence: tuple[str, ...] = ()) -> Task:
    return Task(id=name, question=f"{name}?", answers=("gold",), hops=hops, evidence=evidence)


def attempt(
    name: str,
    answer: str | None = "gold",
    *,
    sample: int = 0,
    status: Status = Status.COMPLETED,
    calls: int = 0,
    errors: int = 0,
    documents: tuple[str, ...] = (),
    unreadable: int = 0,
) -> Trajectory:
    trajectory = Trajectory(name, sample=sample, status=status, answer=answer, ledger={"calls": calls, "errors": errors})
    trajectory.add("prompt", [1], parent=None)
    trajectory.add("observation", [2], parent=0, meta={"documents": list(documents)})
    for index in range(unreadable + 1):
        turn = Turn(error="unreadable") if index < unreadable else Turn(answer=answer or "")
        trajectory.add("generation", [3, 4], parent=1, logprobs=[-1, -1], messages=[Message(role="assistant", turn=turn)])
    return trajectory


def test_a_card_by_hand() -> None:
    tasks = [task("a"), task("b", hops=2, evidence=("d1", "d2")), task("c", hops=2), task("never tried")]
    card = report_card(
        tasks,
        [
            attempt("a", calls=1),
            attempt("b", "gold dust", calls=4, errors=1, documents=("d1", "x"), unreadable=1),
            attempt("c", None, status=Status.BROKEN, calls=9),
        ],
    )
    # 1 solved of 4 tasks; the broken and the missing one stay in the denominator
    assert (card.n_total, card.n_scored) == (4, 2)
    assert card.success == wilson(1, 4)
    assert card.attempts == {"completed": 2, "truncated": 0, "failed": 0, "broken": 1}
    # F1: 1, 2/3 (P 1/2, R 1), 0, 0; contains: 1, 1, 0, 0
    assert card.f1.mean == pytest.approx((1 + 2 / 3) / 4)
    assert card.contains.mean == 0.5
    assert card.success_by_hops == {1: wilson(1, 2), 2: wilson(0, 2)}
    # cost: only a and b are known
    assert card.calls == mean_interval([1, 4], amounts=True)
    assert card.calls is not None and card.calls.mean == 2.5 and card.calls.n == 2
    assert card.tokens is not None and card.tokens.mean == 3  # 2 and 4
    assert card.format_errors is not None and card.format_errors.mean == 0.5
    assert card.call_errors is not None and card.call_errors.mean == 0.5
    assert card.evidence_recall is not None and (card.evidence_recall.mean, card.evidence_recall.n) == (0.5, 1)
    assert card.broken == wilson(1, 3) and card.truncated == wilson(0, 3)


def test_calls_per_solved_counts_the_calls_of_failures() -> None:
    tasks = [task(name) for name in "abcd"]
    card = report_card(tasks, [attempt("a", calls=1), attempt("b", calls=3), attempt("c", "no", calls=5), attempt("d", "no", calls=3)])
    # 12 calls for 2 solved; residuals call - 6 * solved: -5, -3, 5, 3; se = sqrt(4/3 * 68) / 2 = 4.760952; t(.975, 3) = 3.182446
    assert card.calls_per_solved is not None
    assert card.calls_per_solved.mean == 6
    assert card.calls_per_solved.high - 6 == pytest.approx(3.182446 * 4.760952, abs=1e-4)


def test_attempts_are_averaged_per_question_first() -> None:
    tasks = [task("a"), task("b")]
    card = report_card(
        tasks,
        [
            attempt("a"),
            attempt("a", "no", sample=1),
            attempt("a", "no", sample=2, status=Status.BROKEN),  # not in the average
            attempt("b", "no", calls=2),
        ],
    )
    # a: 1 of 2 unbroken, b: 0 of 1
    assert card.success == mean_interval([0.5, 0])
    assert card.success.n == 2
    assert card.broken is not None and card.broken.mean == pytest.approx((1 / 3 + 0) / 2)


def test_nothing_solved_and_nothing_scored() -> None:
    card = report_card([task("a"), task("b")], [attempt("a", None, status=Status.BROKEN)])
    assert card.success == wilson(0, 2)
    assert card.calls is card.tokens is card.calls_per_solved is card.evidence_recall is None
    assert [name for name, _ in card.rows()] == ["success", "success, 1 hop", "f1", "contains", "truncated", "broken"]


def test_a_card_survives_json() -> None:
    card = report_card([task("a", evidence=("d",)), task("b")], [attempt("a", calls=2)])
    assert card.calls is not None and card.calls.high == math.inf  # one scored question: no interval
    text = card.to_json()
    assert "Infinity" not in text
    assert ReportCard.model_validate_json(text) == card


def test_the_rubric_does_not_change_a_card() -> None:
    plain, rewarded = attempt("a"), attempt("a")
    rewarded.reward, rewarded.rewards = -7.0, {"em": 0.0}
    assert report_card([task("a")], [plain]) == report_card([task("a")], [rewarded])


def test_every_row_has_an_interval_and_n() -> None:
    card = report_card([task("a"), task("b", evidence=("d",))], [attempt("a", calls=1), attempt("b", "no", calls=2)])
    assert all(isinstance(figure, Estimate) and figure.n > 0 for _, figure in card.rows())


def test_cards_are_compared_question_by_question() -> None:
    tasks = [task(name) for name in "abcd"]
    before = report_card(tasks, [attempt(name, "no", calls=3) for name in "abcd"])
    after = report_card(tasks[::-1], [attempt("a", calls=1), attempt("b", calls=2), attempt("c", "no", calls=3), attempt("d", calls=3)])
    result = compare(after, before)
    # success: 1, 1, 0, 1; mean .75, s .5, se .25
    assert result.differences["success"].mean == 0.75
    assert result.differences["success"].high - 0.75 == pytest.approx(3.182446 * 0.25, abs=1e-5)
    # calls: -2, -1, 0, 0
    assert result.differences["calls"].mean == -0.75
    assert result.adjusted["success"] >= result.differences["success"].p
    assert set(result.adjusted) == set(result.differences) >= {"success", "f1", "calls", "tokens"}
    assert "evidence_recall" not in result.differences


def test_cost_is_compared_where_both_are_scored() -> None:
    tasks = [task(name) for name in "abc"]
    full = report_card(tasks, [attempt(name, calls=2) for name in "abc"])
    partial = report_card(tasks, [attempt("a", calls=1), attempt("b", calls=1), attempt("c", status=Status.BROKEN)])
    result = compare(full, partial)
    assert (result.differences["calls"].mean, result.differences["calls"].n) == (1, 2)
    assert (result.differences["success"].mean, result.differences["success"].n) == (pytest.approx(1 / 3), 3)


def test_cards_on_other_tasks_are_refused() -> None:
    one = report_card([task("a"), task("b")], [])
    with pytest.raises(InputError, match="'b' stands in only one"):
        compare(one, report_card([task("a")], []))
    with pytest.raises(InputError, match="at least two tasks"):
        compare(report_card([task("a")], []), report_card([task("a")], []))


@pytest.mark.parametrize(
    ("tasks", "trajectories", "message"),
    [
        ([], [], "at least one task"),
        ([task("a"), task("b"), task("b")], [], "task 'b' stands twice"),
        ([task("a")], [attempt("z")], "trajectory z/0 belongs to no task"),
        ([task("a")], [attempt("a"), attempt("a")], "trajectory a/0 stands twice"),
        ([task("a")], [attempt("a", status=Status.RUNNING)], "trajectory a/0 is still running"),
    ],
)
def test_input_that_would_bend_the_numbers_is_refused(tasks: list[Task], trajectories: list[Trajectory], message: str) -> None:
    with pytest.raises(InputError, match=message):
        report_card(tasks, trajectories)
