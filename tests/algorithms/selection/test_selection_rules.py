"""What is trained on, in which order rules apply, and that nothing given is changed."""

import pytest

from spadework.algorithms.selection.broken import Broken
from spadework.algorithms.selection.chain import Chain
from spadework.algorithms.selection.zero_variance import ZeroVariance
from spadework.core.errors import ConfigError
from spadework.trajectories.tree import Group, Status, Trajectory


def group(key: str, *rewards: float | None) -> Group:
    """None stands for a broken trajectory."""
    return Group(
        key,
        [
            Trajectory(key, sample=i, reward=r or 0.0, status=Status.COMPLETED if r is not None else Status.BROKEN)
            for i, r in enumerate(rewards)
        ],
        meta={"made": key},
    )


def keys(groups: list[Group]) -> list[str]:
    return [each.key for each in groups]


def test_equal_rewards_are_dropped() -> None:
    groups = [group("all", 1, 1), group("some", 1, 0), group("none", 0, 0), group("rounding", 0.3, 0.1 + 0.2), group("empty")]
    assert keys(ZeroVariance()(groups)) == ["some"]
    assert keys(ZeroVariance(tolerance=0)(groups)) == ["some", "rounding"]


def test_broken_trajectories_are_dropped_without_touching_the_group() -> None:
    given = [group("a", 1, None, 0), group("b", 1, None), group("c", None, None)]
    kept = Broken()(given)
    assert keys(kept) == ["a"] and [t.sample for t in kept[0]] == [0, 2] and kept[0].meta == {"made": "a"}
    assert [len(each) for each in given] == [3, 2, 2]
    assert keys(Broken(minimum=1)(given)) == ["a", "b"]


def test_the_chain_drops_what_is_broken_first() -> None:
    # With the broken one in, its meaningless reward 0 would look like variance.
    assert keys(Chain.build({"zero-variance": {}})([group("a", 1, 1, None)])) == []
    named = Chain.build({"zero-variance": {}, "broken": {"minimum": 3}})
    assert [name for name, _ in named.rules] == ["broken", "zero-variance"]
    assert keys(named([group("a", 1, 0, None), group("b", 1, 0, 0)])) == ["b"]


def test_the_chain_counts_what_each_rule_drops() -> None:
    groups = [group("a", 1, 0, None), group("b", 1, 1), group("c", None, 0)]
    kept, dropped = Chain.build({"zero-variance": {}}).count(groups)
    assert keys(kept) == ["a"]
    assert dropped == {
        "selection/broken/groups": 1,  # c
        "selection/broken/trajectories": 3,  # one of a, both of c
        "selection/zero-variance/groups": 1,  # b
        "selection/zero-variance/trajectories": 2,
        "selection/missing": 2,
    }


def test_any_function_is_a_rule() -> None:
    assert keys(Chain([("first", lambda groups: groups[:1])])([group("a", 1, 0), group("b", 1, 0)])) == ["a"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"zero-varience": {}}, "selection: unknown selection rule 'zero-varience'; did you mean 'zero-variance'?"),
        ({"zero-variance": {"tol": 1}}, "selection: zero-variance: unknown key 'tol'"),
        ({"zero-variance": None}, "selection: zero-variance: expected a mapping of options such as {}, found None"),
    ],
)
def test_a_wrong_chain_is_one_clear_line(spec: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Chain.build(spec)
    assert str(caught.value).startswith(message)
