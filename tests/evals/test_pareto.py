"""Frontiers by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.evals.pareto import dominated_by


def test_a_frontier_by_hand() -> None:
    # Success up, calls down. b beats c (as good, cheaper) and d (better, cheaper); a is cheapest, e best; f ties with b, and both stay.
    points = {"a": (0.3, 1.0), "b": (0.6, 2.0), "c": (0.6, 3.0), "d": (0.5, 2.5), "e": (0.8, 4.0), "f": (0.6, 2.0)}
    assert dominated_by(list(points.values()), [True, False]) == [None, None, 1, 1, None, None]
    # With more objectives fewer are dominated: c has the best recall.
    with_recall = [(*point, 0.9 if name == "c" else 0.5) for name, point in points.items()]
    assert dominated_by(with_recall, [True, False, True]) == [None, None, None, 1, None, None]
    assert dominated_by([], [True]) == []
    with pytest.raises(ValueError, match="argument"):
        dominated_by([(1.0, 2.0)], [True])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_something_is_always_on_the_frontier_and_it_dominates_the_rest(points: list[tuple[int, int]]) -> None:
    found = dominated_by(points, [True, True])
    assert None in found
    for point, by in zip(points, found, strict=True):
        if by is not None:
            assert found[by] is None and points[by] != point and all(x >= y for x, y in zip(points[by], point, strict=True))
