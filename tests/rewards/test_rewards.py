"""Every branch of every reward, and the rubric that weighs them."""

from typing import Any

import pytest

from spadework.core.errors import ConfigError, InputError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.rewards.answer import AnswerF1, Contains, ExactMatch
from spadework.rewards.economy import Economy
from spadework.rewards.evidence import EvidenceRecall
from spadework.rewards.format import Format
from spadework.rewards.reward import Rubric, Term
from spadework.tasks.task import Task
from spadework.trajectories.tree import Group, Status, Trajectory

TASK = Task(id="t", question="Who is mayor?", answers=("Velor Tash", "V. Tash"), evidence=("d1", "d2"), hops=2)


def attempt(answer: str | None, *, calls: float = 0, status: Status = Status.COMPLETED, documents: tuple[str, ...] = ()) -> Trajectory:
    trajectory = Trajectory("t", status=status, answer=answer, ledger={"calls": calls})
    trajectory.add("prompt", [1, 2], parent=None)
    if documents:
        trajectory.add("observation", [3], parent=0, meta={"documents": list(documents)})
    return trajectory


def said(trajectory: Trajectory, *turns: Turn | None) -> Trajectory:
    for turn in turns:
        messages = () if turn is None else (Message(role="assistant", turn=turn),)
        trajectory.add("generation", [7], parent=len(trajectory.nodes) - 1, logprobs=[-0.1], messages=messages)
    return trajectory


def test_answer_rewards_match_any_gold_and_silence_scores_nothing() -> None:
    assert ExactMatch()(TASK, attempt("v tash")) == 1
    assert ExactMatch()(TASK, attempt("the mayor is Velor Tash")) == 0
    assert Contains()(TASK, attempt("the mayor is Velor Tash")) == 1
    # "mayor is velor tash": P 2/4, R 2/2
    assert AnswerF1()(TASK, attempt("the mayor is Velor Tash")) == pytest.approx(2 / 3)
    empty_gold = TASK.model_copy(update={"answers": ("the",)})
    for reward in (ExactMatch(), AnswerF1(variant="squad2"), Contains()):
        assert reward(empty_gold, attempt(None)) == 0
        assert reward(empty_gold, attempt("")) == 1


def test_the_variant_takes_effect() -> None:
    task = TASK.model_copy(update={"answers": ("Jay Z",)})
    assert ExactMatch()(task, attempt("Jay-Z")) == 0 and ExactMatch(variant="trivia")(task, attempt("Jay-Z")) == 1
    yes = TASK.model_copy(update={"answers": ("yes",)})
    assert AnswerF1()(yes, attempt("yes, they are")) == 0 and AnswerF1(variant="squad2")(yes, attempt("yes, they are")) == 0.5


GOOD = Turn(calls=(ToolCall(name="search", arguments={"query": "mayor"}),))
UNREADABLE = Turn(error="neither a call nor an answer")
BAD_CALL = Turn(calls=(ToolCall(name="search", error="arguments are not JSON"),))


@pytest.mark.parametrize(
    ("turns", "share", "everything"),
    [
        ((GOOD, Turn(answer="x")), 1, 1),
        ((GOOD, UNREADABLE, Turn(answer="x"), GOOD), 0.75, 0),
        ((BAD_CALL, Turn(answer="x")), 0.5, 0),
        ((None, GOOD), 0.5, 0),
        ((), 0, 0),
    ],
)
def test_format(turns: tuple[Turn | None, ...], share: float, everything: float) -> None:
    trajectory = said(attempt("x"), *turns)
    assert Format(mode="share")(TASK, trajectory) == share
    assert Format()(TASK, trajectory) == everything


def test_a_well_formed_call_that_a_tool_refuses_is_no_format_error() -> None:
    trajectory = said(attempt("x"), GOOD)
    trajectory.add("observation", [3], parent=1, meta={"calls": [{"tool": "search", "status": "error"}]})
    assert Format()(TASK, trajectory) == 1


@pytest.mark.parametrize(
    ("answer", "calls", "options", "value"),
    [
        ("Velor Tash", 0, {}, 0),
        ("Velor Tash", 2, {}, -0.4),
        ("Velor Tash", 9, {}, -0.6),
        ("Velor Tash", 2, {"free": "hops"}, 0),
        ("Velor Tash", 1, {"free": "hops"}, 0),
        ("Velor Tash", 4, {"free": "hops", "cost": 0.1}, -0.2),
        ("Velor Tash", 9, {"cost": 0.5, "most": 2.0}, -2.0),
        ("Somebody Else", 9, {}, 0),
        (None, 9, {}, 0),
    ],
)
def test_economy_charges_only_correct_answers(answer: str | None, calls: float, options: dict[str, Any], value: float) -> None:
    assert Economy(**options)(TASK, attempt(answer, calls=calls)) == pytest.approx(value)


def test_a_correct_answer_beats_a_wrong_one_however_long_it_searched() -> None:
    rubric = Rubric.build({"em": {}, "economy": {}})
    long, wrong = attempt("Velor Tash", calls=1000), attempt("no idea")
    rubric.score([long, wrong], TASK)
    assert long.reward == pytest.approx(0.4) and wrong.reward == 0


def test_evidence_is_a_share_of_what_was_needed() -> None:
    assert EvidenceRecall()(TASK, attempt(None, documents=("d2", "x", "y"))) == 0.5
    assert EvidenceRecall()(TASK, attempt(None, documents=("d2", "d1"))) == 1
    assert EvidenceRecall()(TASK, attempt(None)) == 0


def test_evidence_without_evidence_cannot_take_effect() -> None:
    with pytest.raises(InputError, match="task t names no evidence"):
        EvidenceRecall()(TASK.model_copy(update={"evidence": ()}), attempt(None))


def test_a_rubric_is_a_weighted_sum_and_records_unweighted_terms() -> None:
    rubric = Rubric.build({"em": {"weight": 1.0}, "economy": {"weight": 0.5, "cost": 0.1}, "evidence": {"weight": 0}})
    trajectory = attempt("Velor Tash", calls=3, documents=("d1",))
    rubric.score(Group("t", [trajectory]), TASK)
    assert trajectory.rewards == pytest.approx({"em": 1, "economy": -0.3, "evidence": 0.5})
    assert trajectory.reward == pytest.approx(1 - 0.15)


def test_any_function_is_a_reward() -> None:
    trajectory = attempt("x", calls=3)
    Rubric([Term("calls", lambda task, trajectory: -trajectory.ledger["calls"], weight=2.0)]).score([trajectory], TASK)
    assert (trajectory.rewards, trajectory.reward) == ({"calls": -3.0}, -6.0)


def test_broken_trajectories_are_never_scored() -> None:
    broken, fine = attempt("Velor Tash", status=Status.BROKEN), attempt("Velor Tash")
    broken.rewards = {"em": 1.0}
    Rubric.build({"em": {}}).score([broken, fine], TASK)
    assert broken.rewards == {} and broken.reward == 0.0
    assert fine.rewards == {"em": 1.0}


@pytest.mark.parametrize("status", [Status.FAILED, Status.TRUNCATED])
def test_the_policys_own_failures_are_scored(status: Status) -> None:
    trajectory = attempt(None, status=status)
    Rubric.build({"em": {}}).score([trajectory], TASK)
    assert trajectory.rewards == {"em": 0.0}


def test_what_cannot_be_scored_is_refused() -> None:
    rubric = Rubric.build({"em": {}})
    with pytest.raises(ValueError, match="t/0 is still running"):
        rubric.score([attempt("x", status=Status.RUNNING)], TASK)
    with pytest.raises(ValueError, match="t/0 does not attempt task u"):
        rubric.score([attempt("x")], TASK.model_copy(update={"id": "u"}))
    with pytest.raises(ValueError, match="reward 'odd' of trajectory t/0 is nan"):
        Rubric([Term("odd", lambda task, trajectory: float("nan"))]).score([attempt("x")], TASK)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"emm": {}}, "rewards: unknown reward 'emm'; did you mean 'em'?"),
        ({"em": {"varient": "squad"}}, "rewards: em: unknown key 'varient'; did you mean 'variant'?"),
        ({"em": {"weigth": 2}}, "rewards: em: unknown key 'weigth'; did you mean 'weight'?"),
        ({"em": {"weight": "much"}}, "rewards: em: 'weight': "),
        ({"em": {"weight": float("inf")}}, "rewards: em: 'weight': "),
        ({"em": 1.0}, "rewards: em: expected a mapping such as {weight: 1.0}, found 1.0"),
        ({"economy": {"cost": 0}}, "rewards: economy: 'cost': "),
        ({"em": {"weight": 0}}, "rubric: no term has a weight other than 0"),
        ({}, "rubric: no term has a weight other than 0"),
    ],
)
def test_a_wrong_rubric_is_one_clear_line(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Rubric.build(spec)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_two_terms_need_two_names() -> None:
    with pytest.raises(ConfigError, match="same name: em, em"):
        Rubric([Term("em", ExactMatch()), Term("em", ExactMatch(variant="trivia"))])
