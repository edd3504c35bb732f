"""The vector instructions of the compiled attention beside what numpy says."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numba import njit

from spadework.models import cpu_attention
from spadework.models.cpu_attention import LANES, ROWS, SQUARE

FloatArray = npt.NDArray[np.float32]


def normal(*shape: int) -> FloatArray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


@njit
def exponentials(x: Any, first: int, seen: int, count: int, top: Any) -> Any:
    return cpu_attention._exponentials(x, first, seen, count, top)


def test_exponentials() -> None:
    x = np.linspace(-125, 0, 4 * LANES, dtype=np.float32)
    expected = np.exp2((x - np.float32(1)).astype(np.float64))
    expected[3 * LANES + 3 :] = 0
    given = np.concatenate([normal(5), x])
    total = exponentials(given, 5, 3 * LANES + 3, 4 * LANES, np.float32(1))
    np.testing.assert_allclose(given[5:], expected, rtol=1e-6)
    np.testing.assert_allclose(total, expected.sum(), rtol=1e-6)
    assert np.array_equal(given[:5], normal(5))


def test_exponentials_of_what_is_far_below_and_of_no_number() -> None:
    x = np.full(LANES, -1e30, np.float32)
    x[3] = np.nan
    exponentials(x, 0, LANES, LANES, np.float32(0))
    assert np.isnan(x[3])
    assert np.delete(x, 3).max() < 1e-37


@njit
def largest(x: Any, first: int, seen: int) -> Any:
    return cpu_attention._largest(x, first, seen)


@pytest.mark.parametrize("seen", [1, LANES, 2 * LANES + 5])
def test_largest(seen: int) -> None:
    x = normal(4 * LANES)
    assert largest(x, 3, seen) == x[3 : 3 + seen].max()
    assert largest(-np.abs(x), 3, seen) == -np.abs(x[3 : 3 + seen]).min()


@njit
def weigh(x: Any, y: Any, seen: int, top: Any, drop: Any) -> None:
    cpu_attention._weigh(x, y, 0, seen, len(x), top, drop)


def test_weigh() -> None:
    x, y = normal(2, 2 * LANES)
    weights = np.where(np.arange(2 * LANES) < 19, np.exp2(x - np.float32(2)), 0)
    changes = weights * (y - np.float32(0.5))
    weigh(x, y, 19, np.float32(2), np.float32(0.5))
    np.testing.assert_allclose(x, weights, rtol=1e-6)
    np.testing.assert_allclose(y, changes, rtol=1e-6)


@njit
def set_product(c: Any, a: Any, row: int, step: int, b: Any, count: int) -> None:
    cpu_attention._set_product(c, 2, LANES, a, 1, row, step, b, 3, LANES, count)


@njit
def add_product(c: Any, a: Any, row: int, step: int, b: Any, count: int) -> None:
    cpu_attention._add_product(c, 2, LANES, a, 1, row, step, b, 3, LANES, count)


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize(("product", "before"), [(set_product, 0), (add_product, 1)])
def test_products_of_rows_and_of_columns(product: Callable[..., None], before: int, count: int) -> None:
    left, right = normal(ROWS, count), normal(count, LANES)
    for a, row, step in ((left, count, 1), (left.T, 1, ROWS)):
        c = np.ones(2 + ROWS * LANES, np.float32)
        product(c, np.append(0, a).astype(np.float32), row, step, np.append(np.zeros(3), right).astype(np.float32), count)
        np.testing.assert_allclose(c[2:].reshape(ROWS, LANES), before + left @ right, rtol=1e-5, atol=1e-5)
        assert c[:2].tolist() == [1, 1]


@njit
def transpose(target: Any, source: Any, step: int) -> None:
    cpu_attention._transpose(target, 1, source, 2, step)


def test_transpose() -> None:
    source, target = normal(SQUARE, SQUARE + 3), np.zeros(1 + SQUARE * LANES, np.float32)
    transpose(target, source.ravel(), SQUARE + 3)
    rows = target[1:].reshape(SQUARE, LANES)
    assert np.array_equal(rows[:, :SQUARE], source[:, 2 : 2 + SQUARE].T)
    assert not rows[:, SQUARE:].any()
