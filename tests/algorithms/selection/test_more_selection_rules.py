"""The rules that drop, duplicate or draw: by hand where nothing is drawn, by exact counts and frequencies where something is."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.algorithms.credit.dr_grpo import DrGRPO
from spadework.algorithms.selection.accuracy import Accuracy
from spadework.algorithms.selection.chain import Chain
from spadework.algorithms.selection.duplicate import Duplicate
from spadework.algorithms.selection.resampling import next_draw
from spadework.algorithms.selection.roc import ResampleOnCorrect, penalty
from spadework.algorithms.selection.selection import RandomRule, selection_rules
from spadework.algorithms.selection.sign_ratio import SignRatio
from spadework.algorithms.selection.truncated import Truncated
from spadework.algorithms.selection.void_turns import VoidTurns, has_void_turn
from spadework.core.errors import ConfigError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.trajectories.packing import group_samples
from spadework.trajectories.tree import Group, Status, Trajectory

CALL, BAD_CALL, ANSWER, NOTHING = (
    Turn(calls=(ToolCall(name="search"),)),
    Turn(calls=(ToolCall(name="", error="not JSON"),)),
    Turn(answer="x"),
    Turn(error="neither a call nor an answer"),
)


def attempt(
    sample: int, reward: float, turns: Sequence[Turn | None] = (ANSWER,), calls: Sequence[str] = (), status: Status = Status.COMPLETED
) -> Trajectory:
    trajectory = Trajectory("t", sample, reward=reward, status=status)
    trajectory.add("prompt", [1], parent=None)
    for turn in turns:
        message = Message(role="assistant", turn=turn)
        trajectory.add("generation", [2], parent=len(trajectory.nodes) - 1, logprobs=[-1.0], messages=[message])
    if calls:
        trajectory.add("observation", [3], parent=len(trajectory.nodes) - 1, meta={"calls": [{"status": status} for status in calls]})
    return trajectory


def group(key: str, *rewards: float) -> Group:
    return Group(key, [attempt(sample, reward) for sample, reward in enumerate(rewards)])


def keys(groups: list[Group]) -> list[str]:
    return [each.key for each in groups]


def samples(group: Group, *, trained: bool = True) -> list[int]:
    return [t.sample for t in group if t.trained is trained]


# Duplicates


def test_slots_are_filled_with_copies() -> None:
    groups = [group("a", 1, 0), group("none", 0, 0), group("b", 0, 1), group("all", 1, 1), group("even", 1, 1)]
    filled = Duplicate().draw(groups, 3)
    assert keys(filled)[:2] == ["a", "b"] and len(filled) == 5
    # Three slots: each group once, then one of them again.
    assert sorted(keys(filled)[2:4]) == ["a", "b"] and filled[4].key in "ab"
    assert [each.meta.get("copy") for each in filled] == [None, None, 1, 1, 2]
    assert filled[2].trajectories == {"a": groups[0], "b": groups[2]}[filled[2].key].trajectories
    assert all(each.meta == {} for each in groups)
    assert {keys(Duplicate().draw(groups, seed))[4] for seed in range(20)} == {"a", "b"}


def test_a_batch_without_a_spread_is_not_filled() -> None:
    assert Duplicate()([group("a", 1, 1), group("b", 0, 0)]) == []
    whole = [group("a", 1, 0)]
    assert Duplicate()(whole) == whole


def test_copies_are_trained_again() -> None:
    [first, second] = Duplicate()([group("a", 1, 0), group("b", 1, 1)])
    for each in (first, second):
        DrGRPO()(each)
    assert len(group_samples(first)) == len(group_samples(second)) == 2


# Resampling


@pytest.mark.parametrize(
    ("kept", "drawn", "more"),
    [
        (0, 0, 32),  # the first draw
        (32, 32, 0),
        (40, 64, 0),
        (16, 32, 32),  # half is kept: 16 missing need 32
        (24, 32, 11),  # 8 * 32 / 24 = 10.67
        (1, 32, 32),  # never more than a batch
        (0, 32, 32),  # nothing kept: a whole batch again
        (0, 320, 0),  # ten batches are enough
        (0, 310, 10),
    ],
)
def test_how_many_more_tasks(kept: int, drawn: int, more: int) -> None:
    assert next_draw(32, kept, drawn) == more


@given(st.integers(1, 50), st.floats(0, 1), st.integers(0, 100))
def test_resampling_ends(wanted: int, rate: float, seed: int) -> None:
    stream, kept, drawn = random.Random(seed), 0, 0
    while more := next_draw(wanted, kept, drawn):
        assert 0 < more <= wanted
        drawn += more
        kept += sum(stream.random() < rate for _ in range(more))
    assert kept >= wanted or drawn == 10 * wanted


# Resample on correct


def test_penalty() -> None:
    assert penalty(attempt(0, 1, [CALL, ANSWER], ["ok", "error"])) == 0.5
    assert penalty(attempt(0, 1, [CALL, ANSWER], ["ok"])) == 0.0
    assert penalty(attempt(0, 1, [ANSWER])) == 0.5  # no call
    assert penalty(attempt(0, 1, [CALL, CALL], ["error"])) == 2.0  # no answer
    assert penalty(attempt(0, 1, [ANSWER, CALL, ANSWER, ANSWER], ["ok"])) == 0.5  # two answers too many in four turns
    assert penalty(attempt(0, 1, [None], ["ok"])) == 1.0


def roc_group(positives: int, negatives: int) -> Group:
    """Positive number i has a penalty of i / 10."""
    made = [attempt(i, 1, [CALL, ANSWER], ["error"] * i + ["ok"] * (10 - i)) for i in range(positives)]
    return Group("t", made + [attempt(positives + i, 0) for i in range(negatives)])


@pytest.mark.parametrize(
    ("positives", "negatives", "kept"),
    [
        (8, 8, (4, 4)),
        (5, 11, (2, 6)),  # both odd: the slot goes to the negatives
        (1, 15, (1, 7)),  # the lone success stays
        (15, 1, (7, 1)),
        (3, 5, (2, 2)),
        (2, 2, (2, 0)),  # the floor of the positives comes first
        (6, 3, (2, 2)),  # four of nine: half of the positives would be three, and the negatives keep their two
        (8, 0, (4, 0)),
        (0, 8, (0, 4)),
        (4, 3, (2, 1)),  # seven, for one was broken: three remain
    ],
)
def test_half_is_kept(positives: int, negatives: int, kept: tuple[int, int]) -> None:
    for mode in ("sample", "top"):
        [half] = ResampleOnCorrect(positives=mode)([roc_group(positives, negatives)])
        rewards = [t.reward for t in half]
        assert (rewards.count(1), rewards.count(0)) == kept
        assert samples(half) == sorted(samples(half))


def test_without_a_minimum_halves_are_rounded_down() -> None:
    [half] = ResampleOnCorrect(minimum=0)([roc_group(1, 7)])
    assert [t.reward for t in half] == [0] * 4
    assert ResampleOnCorrect()([roc_group(1, 1)]) == []  # one trajectory is no group


def test_top_takes_the_least_penalty() -> None:
    [half] = ResampleOnCorrect(positives="top")([roc_group(8, 4)])
    assert [sample for sample in samples(half) if sample < 8] == [0, 1, 2, 3]


def test_positives_are_drawn_by_the_inverse_of_their_penalty() -> None:
    # One of two with penalties .1 and .3: the first with probability 10 / (10 + 10 / 3) = .75; a penalty of 0 is always kept.
    made = roc_group(4, 2)
    pair = Group("t", [made.trajectories[1], made.trajectories[3]])
    rule = ResampleOnCorrect(minimum=1)
    trio = Group("t", [*pair, made.trajectories[0], *made.trajectories[4:], attempt(9, 0)])  # 3 positives, 3 negatives: 1 and 2
    assert all(0 in samples(rule.draw([trio], seed)[0]) for seed in range(50))
    pair.trajectories += made.trajectories[4:]  # 2 positives, 2 negatives: 1 and 1
    first = Counter(samples(rule.draw([pair], seed)[0])[0] for seed in range(2000))
    assert first[1] / 2000 == pytest.approx(0.75, abs=0.03)
    second = Counter(samples(rule.draw([pair], seed)[0])[1] for seed in range(2000))
    assert second[4] / 2000 == pytest.approx(0.5, abs=0.04)


# Signs


def test_negatives_per_positive() -> None:
    groups = [group("a", 1, 0, 0, 0), group("b", 1, 0, 0, 0)]
    kept = SignRatio(negatives=1.5)(groups)
    # 2 positives allow 3 negatives of 6; the others stay in the baseline.
    assert sum(t.trained and t.reward == 0 for each in kept for t in each) == 3
    assert [len(each) for each in kept] == [4, 4] and all(samples(each)[0] == 0 for each in kept)
    assert all("train" not in t.meta for each in groups for t in each)
    assert [len(each) for each in SignRatio(scope="group", baseline=False)(groups)] == [2, 2]
    per_group = SignRatio(scope="group", negatives=2)(groups)
    assert [len(samples(each)) for each in per_group] == [3, 3]


def test_without_positives_nothing_is_trained() -> None:
    assert SignRatio()([group("a", 0, 0)]) == []
    assert keys(SignRatio(scope="group")([group("a", 0, 0), group("b", 1, 0)])) == ["b"]
    assert keys(SignRatio()([group("a", 0, 0), group("b", 1, 0)])) in (["b"], ["a", "b"])


def test_positives_per_negative() -> None:
    [kept] = SignRatio(negatives=None, positives=2)([group("a", 1, 1, 1, 1, 0)])
    assert sum(t.trained and t.reward == 1 for t in kept) == 2 and 4 in samples(kept)
    same = [group("a", 1, 1, 0)]
    assert SignRatio(negatives=None)(same) == same


def test_what_is_not_trained_already_is_not_counted() -> None:
    made = group("a", 1, 1, 0, 0)
    made.trajectories[0].meta["train"] = False
    [kept] = SignRatio()([made])
    assert len(samples(kept)) == 2  # one positive, one negative


def test_the_advantages_of_the_others_do_not_change() -> None:
    made = group("a", 1, 0, 0, 0)
    [kept] = SignRatio()([made])
    DrGRPO()(kept)
    assert [t.nodes[1].advantages for t in kept if t.trained] == [[0.75], [-0.25]]
    assert len(group_samples(kept)) == 2
    # Elsewhere the same trajectories are still trained on.
    DrGRPO()(made)
    DrGRPO()(kept)
    assert all(t.nodes[1].advantages for t in made)


# Void turns, truncation, difficulty


@pytest.mark.parametrize(
    ("turns", "void"),
    [
        ([CALL, ANSWER], False),
        ([CALL, NOTHING, ANSWER], True),
        ([BAD_CALL, ANSWER], True),
        ([Turn(calls=(*BAD_CALL.calls, *CALL.calls))], False),
        ([None], False),
        ([], False),
    ],
)
def test_void(turns: list[Turn | None], void: bool) -> None:
    assert has_void_turn(attempt(0, 1, turns)) is void


def test_void_turns_leave_the_loss() -> None:
    made = Group("t", [attempt(0, 1), attempt(1, 0, [NOTHING]), attempt(2, 0)])
    [kept] = VoidTurns()([made])
    assert (samples(kept), samples(kept, trained=False)) == ([0, 2], [1])
    DrGRPO()(kept)
    assert kept.trajectories[0].nodes[1].advantages == [pytest.approx(2 / 3)]
    [kept] = VoidTurns(baseline=False)([made])
    assert samples(kept) == [0, 2] and len(kept) == 2
    assert VoidTurns()([Group("t", [attempt(0, 1, [NOTHING]), attempt(1, 0, [NOTHING])])]) == []
    # Two would stay in the baseline and one be trained; without the baseline one is left, which is no group.
    pair = Group("t", [attempt(0, 1), attempt(1, 0, [NOTHING])])
    assert len(VoidTurns()([pair])) == 1 and VoidTurns(baseline=False)([pair]) == []


def test_truncated_negatives() -> None:
    cut = Status.TRUNCATED
    made = Group("t", [attempt(0, 1), attempt(1, 0, status=cut), attempt(2, 1, status=cut), attempt(3, 0)])
    assert Truncated(negatives="keep")([made]) == [made]
    [kept] = Truncated(negatives="drop")([made])
    assert [t.sample for t in kept] == [0, 2, 3]
    [kept] = Truncated()([made])
    assert (samples(kept), samples(kept, trained=False)) == ([0, 2, 3], [1])
    [kept] = Truncated(positive=1.0)([made])
    assert samples(kept) == [0, 3]


def test_accuracy_window() -> None:
    groups = [group("0", *[0] * 10), group("1", *[1] + [0] * 9), group("9", *[1] * 9 + [0]), group("10", *[1] * 10), group("none")]
    assert keys(Accuracy()(groups)) == ["1", "9"]
    assert keys(Accuracy(low=0, high=0.5)(groups)) == ["0", "1"]
    assert keys(Accuracy(positive=1.0, low=0, high=0)(groups)) == ["0", "1", "9", "10"]


# All of them

DRAWING = [name for name in selection_rules.names() if issubclass(selection_rules.get(name), RandomRule)]


def mixed(seed: int = 0) -> list[Group]:
    stream = random.Random(seed)
    return [group(str(key), *(stream.choice([0.0, 0.0, 1.0]) for _ in range(8))) for key in range(6)] + [group("none", *[0.0] * 8)]


def shown(groups: list[Group]) -> list[tuple[str, list[int], list[int]]]:
    return [(each.key, samples(each), samples(each, trained=False)) for each in groups]


@pytest.mark.parametrize("name", DRAWING)
def test_draws_depend_on_the_seed_and_nothing_else(name: str) -> None:
    chain = Chain.build({name: {}})
    assert shown(chain.count(mixed(), seed=1)[0]) == shown(chain.count(mixed(), seed=1)[0])
    assert len({str(shown(chain.count(mixed(), seed=seed)[0])) for seed in range(10)}) > 1
    before = Chain.build({"truncated": {}, name: {}})
    assert shown(before.count(mixed(), seed=1)[0]) == shown(chain.count(mixed(), seed=1)[0])


def test_a_group_is_drawn_from_whatever_the_others_are() -> None:
    for rule in (ResampleOnCorrect(), SignRatio(scope="group")):
        alone = {each.key: shown(rule.draw([each], 5)) for each in mixed()}
        together = shown(rule.draw(mixed()[::-1], 5))
        assert together == [entry for each in mixed()[::-1] for entry in alone[each.key]]


@pytest.mark.parametrize("name", selection_rules.names())
def test_what_is_given_is_left_as_it_is(name: str) -> None:
    groups = mixed()
    groups[0].trajectories[0].status = Status.TRUNCATED
    before = shown(groups)
    Chain.build({name: {}}).count(groups, seed=2)
    assert shown(groups) == before


@pytest.mark.parametrize("name", selection_rules.names())
def test_nothing_gives_nothing(name: str) -> None:
    assert Chain.build({name: {}})([]) == []


def test_the_chain_counts_the_untrained() -> None:
    made = Group("t", [attempt(0, 1), attempt(1, 0, [NOTHING]), attempt(2, 0), attempt(3, 0, status=Status.BROKEN)])
    kept, metrics = Chain.build({"void-turns": {}}).count([made])
    assert len(kept[0]) == 3
    assert metrics == {
        "selection/broken/groups": 0,
        "selection/broken/trajectories": 1,
        "selection/void-turns/groups": 0,
        "selection/void-turns/trajectories": 0,
        "selection/void-turns/untrained": 1,
        "selection/missing": 0,
    }


def test_wrong_options_are_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="selection: unknown selection rule 'truncate'; did you mean 'truncated'"):
        Chain.build({"truncate": {}})
    with pytest.raises(ConfigError, match="selection: 'duplicate' behind 'zero-variance' has nothing left to do; remove 'zero-variance'"):
        Chain.build({"zero-variance": {}, "duplicate": {}})
    with pytest.raises(ConfigError, match="selection: sign-ratio: 'negatives': Input should be greater than 0"):
        Chain.build({"sign-ratio": {"negatives": 0}})
    with pytest.raises(ConfigError, match=r"accuracy: 'low' 0.9 is greater than 'high' 0.1, so no group would be kept"):
        Chain.build({"accuracy": {"low": 0.9, "high": 0.1}})


def test_the_chain_counts_what_each_rule_leaves_untrained() -> None:
    made = [Group("a", [attempt(0, 1), attempt(1, 0, (NOTHING,)), attempt(2, 0, status=Status.TRUNCATED), attempt(3, 0)])]
    _, metrics = Chain.build({"void-turns": {}, "truncated": {}}).count(made)
    assert metrics["selection/void-turns/untrained"] == 1 == metrics["selection/truncated/untrained"]


def test_a_spread_at_the_tolerance_is_none() -> None:
    made = [group("a", 0.5, 0.0), group("b", 0.75, 0.0)]
    assert keys(Duplicate(tolerance=0.5)(made)) == ["b", "b"]


def test_the_defaults_are_the_published_settings() -> None:
    built_in = [name for name in selection_rules.names() if selection_rules.get(name).__module__.startswith("spadework.")]
    assert {name: selection_rules.build(name).model_dump() for name in built_in} == {
        "accuracy": {"low": 0.1, "high": 0.9, "positive": 0.0},
        "broken": {"minimum": 2},
        "duplicate": {"tolerance": 1e-9},
        "roc": {"positive": 0.0, "positives": "sample", "minimum": 2},
        "sign-ratio": {"negatives": 1.0, "positives": None, "scope": "batch", "baseline": True, "positive": 0.0},
        "truncated": {"negatives": "soft", "positive": 0.0},
        "void-turns": {"baseline": True},
        "zero-variance": {"tolerance": 1e-9},
    }


def test_the_format_part_of_the_penalty_is_at_most_one() -> None:
    # Four answers over two turns: (4 - 1) / 2 is cut to 1; no call at all: .5
    trajectory = attempt(0, 1)
    node = trajectory.add("generation", [2], parent=1, logprobs=[-1.0])
    node.messages = tuple(Message(role="assistant", turn=ANSWER) for _ in range(3))
    assert penalty(trajectory) == pytest.approx(1.5)
