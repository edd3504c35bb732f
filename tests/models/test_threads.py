"""Runs of parts in threads."""

from collections.abc import Iterator, Sequence
from threading import Barrier, current_thread

import pytest
import torch

from spadework.models.threads import in_threads


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "runs"), [(0, [[]]), (1, [[0]]), (2, [[0], [1]]), (7, [[0, 1], [2, 3], [4, 5, 6]])])
def test_every_thread_has_a_run_of_parts(count: int, runs: list[list[int]]) -> None:
    assert in_threads(list, range(count)) == runs


def test_each_has_one_thread_of_torch_and_records_no_gradients() -> None:
    all_here = Barrier(3, timeout=30)

    def look(parts: Sequence[int]) -> tuple[str, int, bool]:
        all_here.wait()
        return current_thread().name, torch.get_num_threads(), torch.is_grad_enabled()

    with torch.no_grad():
        seen = in_threads(look, range(3))
    assert [rest for _, *rest in seen] == [[1, False]] * 3
    assert len({name for name, *_ in seen}) == 3


@pytest.mark.parametrize("inference", [False, True])
def test_threads_write_into_what_their_caller_made(inference: bool) -> None:
    def fill(parts: Sequence[int]) -> None:
        out[list(parts)] = 1.0

    with torch.inference_mode(inference):
        out = torch.zeros(6)
        in_threads(fill, range(6))
    assert out.tolist() == [1.0] * 6


@pytest.mark.parametrize("bad", [0, 2])
def test_an_error_in_a_thread_is_raised_and_nothing_is_left_changed(bad: int) -> None:
    def divide(parts: Sequence[int]) -> list[float]:
        return [1 / (part - bad) for part in parts]

    with pytest.raises(ZeroDivisionError):
        in_threads(divide, range(3))
    assert in_threads(list, range(3)) == [[0], [1], [2]]
