"""The rubric: four scopes, weights that change, and what happens when a reward fails."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rewards.episodes import TASK, bad, episode, search, searched

from spadework.core.errors import BrokenError, ConfigError, InputError
from spadework.rewards.answer import ExactMatch
from spadework.rewards.format import TurnFormat
from spadework.rewards.reward import GroupReward, RewardError, RewardTerm, Rubric, Span, SpanReward, Term, TurnReward
from spadework.rewards.weight import Schedule, weight_at
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status, Trajectory


class Rank(GroupReward):
    """Position in the group, and what it was given."""

    def __call__(self, task: Task, trajectories: Sequence[Trajectory]) -> list[float]:
        return [float(index) for index, _ in enumerate(trajectories)]


class Tail(SpanReward):
    """2 on the last two tokens of the first turn, and 1 on its last."""

    def __call__(self, task: Task, trajectory: Trajectory) -> list[Span]:
        return [Span(1, 1, 3, 2.0), Span(1, 2, 3, 1.0)]


class Odd(RewardTerm):
    """Fails on answers by their name."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        if trajectory.answer == "raise":
            raise KeyError("missing")
        if trajectory.answer == "input":
            raise InputError("task t has no keys")
        if trajectory.answer == "broken":
            raise BrokenError("the judge is away")
        return {"nan": float("nan"), "inf": float("inf")}.get(trajectory.answer or "", 1.0)


class Short(TurnReward):
    """One value too few."""

    def __call__(self, task: Task, trajectory: Trajectory) -> list[float]:
        return [1.0] * (trajectory.num_turns - 1)


def test_turn_terms_stay_on_the_turns() -> None:
    trajectory = episode(bad(), search("q"), answer="Velor Tash")
    Rubric([Term("em", ExactMatch()), Term("tidy", TurnFormat(), weight=0.5)]).score([trajectory], TASK)
    assert trajectory.rewards == {"em": 1.0} and trajectory.reward == 1.0
    turns = list(trajectory.generations())
    assert [node.rewards for node in turns] == [{"tidy": 0.0}, {"tidy": 1.0}, {"tidy": 1.0}]
    assert [node.reward for node in turns] == [0.0, 0.5, 0.5]
    assert all(node.token_rewards == [] for node in turns)


def test_span_terms_add_up_on_tokens() -> None:
    trajectory = episode(search("q"), answer="x", tokens=3)
    Rubric([Term("tail", Tail(), weight=0.5)]).score([trajectory], TASK)
    assert [node.token_rewards for node in trajectory.generations()] == [[0.0, 1.0, 1.5], [0.0, 0.0, 0.0]]
    assert trajectory.rewards == {} and trajectory.reward == 0.0


def test_last_token_puts_a_turn_reward_on_its_last_token() -> None:
    trajectory = episode(bad(), answer="x", tokens=2)
    Rubric.build({"last-token": {"weight": 2.0, "of": {"turn-format": {}}}}).score([trajectory], TASK)
    assert [node.token_rewards for node in trajectory.generations()] == [[0.0, 0.0], [0.0, 2.0]]


def test_group_terms_see_the_unbroken_members_only() -> None:
    group = [episode(answer="a", sample=0), episode(answer="broken", sample=1), episode(answer="c", sample=2)]
    rubric = Rubric([Term("rank", Rank(), weight=10.0), Term("odd", Odd())])
    assert rubric.score(group, TASK) == 1
    assert [t.rewards for t in group] == [{"rank": 0.0, "odd": 1.0}, {}, {"rank": 1.0, "odd": 1.0}]
    assert list(group[0].rewards) == ["rank", "odd"]
    assert [t.reward for t in group] == [1.0, 0.0, 11.0]
    # a group of broken ones is no error
    assert rubric.score([group[1]], TASK) == 0


def test_scoring_again_leaves_nothing_behind() -> None:
    trajectory = episode(search("q"), answer="Velor Tash", tokens=3)
    Rubric([Term("em", ExactMatch()), Term("tidy", TurnFormat()), Term("tail", Tail())]).score([trajectory], TASK)
    Rubric([Term("odd", Odd())]).score([trajectory], TASK)
    assert trajectory.rewards == {"odd": 1.0}
    assert all(node.rewards == {} and node.reward == 0.0 and node.token_rewards == [] for node in trajectory.nodes)


def test_many_groups_at_once() -> None:
    other = TASK.model_copy(update={"id": "u", "answers": ("x",)})
    groups = [[searched(0, "Velor Tash")], [episode(answer="x", task=other), episode(answer="y", task=other)]]
    assert Rubric.build({"em": {}}).score_groups([TASK, other], groups) == 0
    assert [[t.reward for t in group] for group in groups] == [[1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("raise", "reward 'odd' of trajectory t/0: KeyError: 'missing'"),
        ("input", "reward 'odd' of trajectory t/0: task t has no keys"),
        ("nan", "reward 'odd' of trajectory t/0 is nan"),
        ("inf", "reward 'odd' of trajectory t/0 is inf"),
    ],
)
def test_a_failing_reward_stops_the_run_or_breaks_the_trajectory(answer: str, message: str) -> None:
    trajectory, fine = episode(answer=answer), episode(answer="fine", sample=1)
    with pytest.raises(RewardError) as caught:
        Rubric([Term("odd", Odd())]).score([trajectory, fine], TASK)
    assert str(caught.value) == message and isinstance(caught.value, InputError) and isinstance(caught.value, ValueError)
    dropping = Rubric([Term("em", ExactMatch()), Term("odd", Odd()), Term("tidy", TurnFormat())], on_error="drop")
    assert dropping.score([trajectory, fine], TASK) == 1
    assert (trajectory.status, trajectory.error) == (Status.BROKEN, message)
    assert trajectory.rewards == {} and trajectory.reward == 0.0 and not any(node.rewards for node in trajectory.nodes)
    assert fine.status is Status.COMPLETED and fine.rewards == {"em": 0.0, "odd": 1.0}


def test_broken_infrastructure_never_stops_the_run() -> None:
    trajectory = episode(answer="broken")
    assert Rubric([Term("odd", Odd())]).score([trajectory], TASK) == 1
    assert (trajectory.status, trajectory.error) == (Status.BROKEN, "reward 'odd' of trajectory t/0: the judge is away")


class Crowd(GroupReward):
    """Wrong in one of three ways."""

    fault: str

    def __call__(self, task: Task, trajectories: Sequence[Trajectory]) -> list[float]:
        if self.fault == "raise":
            raise ZeroDivisionError("no spread")
        return [float("nan"), 1.0] if self.fault == "nan" else [1.0]


@pytest.mark.parametrize(
    ("fault", "message", "broken"),
    [
        ("raise", "reward 'crowd' of trajectory t/0: ZeroDivisionError: no spread", [True, True]),
        ("short", "reward 'crowd' of trajectory t/0 gives 1 values for 2 trajectories", [True, True]),
        ("nan", "reward 'crowd' of trajectory t/0 is nan", [True, False]),
    ],
)
def test_a_failing_group_reward(fault: str, message: str, broken: list[bool]) -> None:
    group = [episode(answer="a"), episode(answer="b", sample=1)]
    with pytest.raises(RewardError) as caught:
        Rubric([Term("crowd", Crowd(fault=fault))]).score(group, TASK)
    assert str(caught.value) == message
    group = [episode(answer="a"), episode(answer="b", sample=1)]
    assert Rubric([Term("crowd", Crowd(fault=fault))], on_error="drop").score(group, TASK) == sum(broken)
    assert [t.status is Status.BROKEN for t in group] == broken


def test_values_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(RewardError, match="reward 'short' of trajectory t/0 gives 1 values for 2 turns"):
        Rubric([Term("short", Short())]).score([searched(1, "x")], TASK)
    with pytest.raises(RewardError, match="reward 'tail' of trajectory t/0 gives tokens 1 to 3 of node 1, which are not sampled tokens"):
        Rubric([Term("tail", Tail())]).score([searched(1, "x")], TASK)


def test_supplies() -> None:
    rubric = Rubric([Term("em", ExactMatch()), Term("tidy", TurnFormat()), Term("tail", Tail(), weight=0.0)])
    assert rubric.supplies == {"turn_rewards"}
    assert Rubric([Term("tail", Tail(), weight=Schedule(start=0.0, end=1.0))]).supplies == {"span_rewards"}
    assert Rubric([Term("em", ExactMatch())]).supplies == frozenset()


def test_a_schedule_over_training() -> None:
    rubric = Rubric.build({"em": {"weight": {"start": 1.0, "end": 0.0, "from": 0.2, "to": 0.6}}})
    trajectory = searched(0, "Velor Tash")
    found = []
    for progress in (0.0, 0.2, 0.3, 0.4, 0.6, 1.0):
        rubric.score([trajectory], TASK, progress)
        found.append(trajectory.reward)
        assert trajectory.rewards == {"em": 1.0}  # recorded unweighted
    assert found == pytest.approx([1, 1, 0.75, 0.5, 0, 0])
    step = Schedule.parse({"start": 0, "end": 2, "from": 0.5, "to": 0.5}, source="x")
    assert [step.at(p) for p in (0.0, 0.49, 0.5, 1.0)] == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ({"start": 1}, "'end' is missing"),
        ({"start": 1, "end": 2, "form": 0}, "unknown key 'form'"),
        ({"start": 1, "end": 2, "from": 0.9, "to": 0.1}, "'from' 0.9 is after 'to' 0.1"),
        ({"start": 1, "end": 2, "to": 7}, "less than or equal to 1"),
        ({"start": float("inf"), "end": 2}, "finite number"),
        (True, "expected a finite number or a schedule {start, end, from, to}"),
        ([1], "expected a finite number"),
    ],
)
def test_a_wrong_weight_is_one_clear_line(weight: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Rubric.build({"em": {"weight": weight}})
    assert str(caught.value).startswith("rewards: em: 'weight': ") and message in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_rubrics() -> None:
    with pytest.raises(ConfigError, match="on_error is 'stop' or 'drop', not 'ignore'"):
        Rubric([Term("em", ExactMatch())], on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no term has a weight other than 0"):
        Rubric.build({"em": {"weight": {"start": 0, "end": 0}}})


def test_a_label_allows_two_of_a_kind() -> None:
    rubric = Rubric.build({"em": {}, "em/loose": {"variant": "trivia"}})
    trajectory = searched(0, "Velor-Tash")
    rubric.score([trajectory], TASK)
    assert trajectory.rewards == {"em": 0.0, "em/loose": 1.0}
    with pytest.raises(ConfigError, match="unknown reward 'emm'"):
        Rubric.build({"emm/loose": {}})


NUMBERS = st.floats(-4, 4).map(lambda x: round(x, 3))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4), NUMBERS)
def test_the_reward_is_linear_in_the_weights(terms: list[tuple[float, float]], factor: float) -> None:
    def total(scale: float) -> float:
        trajectory = searched(0, "x")
        parts = [Term(f"t{i}", lambda task, t, v=v: v, weight=scale * w) for i, (w, v) in enumerate(terms)]  # type: ignore[misc]
        Rubric([*parts, Term("zero", lambda task, t: 0.0)]).score([trajectory], TASK)
        return trajectory.reward

    assert total(1.0) == pytest.approx(sum(w * v for w, v in terms), abs=1e-9)
    assert total(factor) == pytest.approx(factor * total(1.0), abs=1e-9)


@given(NUMBERS, NUMBERS, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_schedule_stays_between_its_ends(start: float, end: float, a: float, b: float, progress: float) -> None:
    schedule = Schedule(start=start, end=end, begin=min(a, b), until=max(a, b))
    assert min(start, end) - 1e-9 <= weight_at(schedule, progress) <= max(start, end) + 1e-9
