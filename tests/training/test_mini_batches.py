"""Dealing groups over updates: every pass has every group once, and nothing but the seed decides how."""

from hypothesis import given
from hypothesis import strategies as st

from spadework.training.mini_batches import deal


@given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 6), st.integers(0, 100))
def test_every_pass_has_every_group_once_in_parts_of_nearly_equal_size(count: int, epochs: int, mini_batches: int, seed: int) -> None:
    groups = [f"g{number:02}" for number in range(count)]
    updates = deal(groups, epochs=epochs, mini_batches=mini_batches, seed=seed)
    per_pass = min(mini_batches, count)
    assert len(updates) == epochs * per_pass
    for first in range(0, len(updates), per_pass):
        parts = updates[first : first + per_pass]
        assert sorted(group for part in parts for group in part) == groups
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert all(part == sorted(part) for part in parts), "within an update the groups keep their order"
    assert updates == deal(groups, epochs=epochs, mini_batches=mini_batches, seed=seed)


def test_passes_and_steps_deal_differently() -> None:
    groups = list(range(12))
    first, second = deal(groups, epochs=2, mini_batches=3, seed=0)[:3], deal(groups, epochs=2, mini_batches=3, seed=0)[3:]
    assert first != second and first != deal(groups, epochs=1, mini_batches=3, seed=1)
    assert deal([], epochs=2, mini_batches=3, seed=0) == []
