import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.viewer.charts import Curve, Row, curve_chart, interval_plot, nice_ticks, smooth, thin
from spadework.viewer.curves import learning_curves
from spadework.viewer.figures import Interval, percent

finite_floats = st.floats(-1e6, 1e6)


def test_ticks_by_hand() -> None:
    assert nice_ticks(0, 1, 4) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    # 0.15 / 5 = 0.03; the smallest round step of at least 0.7 times that is 0.05.
    assert nice_ticks(-0.03, 0.12, 5) == [-0.05, 0, 0.05, 0.1, 0.15]
    assert nice_ticks(2, 2)[0] <= 2 <= nice_ticks(2, 2)[-1], "a constant still has an axis"


@given(finite_floats, finite_floats)
def test_ticks_cover_the_data(first: float, second: float) -> None:
    low, high = sorted((first, second))
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack and 2 <= len(ticks) <= 12


def test_smoothing_by_hand() -> None:
    # Half-life 1: weights halve per step. After 1, 3: (0.25 * 1 + 0.5 * 3) / 0.75 = 7/3.
    assert smooth([1.0, 3.0], 1) == pytest.approx([1.0, 7 / 3])
    assert smooth([2.0] * 5, 3) == pytest.approx([2.0] * 5)


@given(st.lists(finite_floats, min_size=1, max_size=900))
def test_thinning_keeps_the_extremes(values: list[float]) -> None:
    points = [(float(step), value) for step, value in enumerate(values)]
    kept = thin(points)
    assert len(kept) <= 242 and set(kept) <= set(points) and kept == sorted(kept)
    assert max(v for _, v in kept) == max(values) and min(v for _, v in kept) == min(values)


def test_an_interval_stands_where_its_numbers_say() -> None:
    plot = interval_plot(
        [Row("RL", "rl", Interval(0.5, 0.25, 0.75, 8)), Row("SFT", "sft", None)],
        show=percent,
        ticks=[0, 0.5, 1],
        tick_text=lambda t: f"{t}",
    )
    assert 'x1="25.00%" x2="75.00%"' in plot and '<svg x="50.00%"' in plot
    assert "&ndash;" in plot, "a value that was not measured is a dash"


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [5.0, -3.0, 2.0], [1e-7] * 20, [float(v) for v in range(2000)]])
def test_a_curve_stays_inside_its_frame(values: list[float]) -> None:
    chart = curve_chart(Curve("Loss", "nats", "sft", [float(step) for step in range(1, len(values) + 1)], values))
    for path in re.findall(r' d="M([^"]+)"', chart):
        numbers = [float(number) for number in path.split()]
        assert all(46 <= x <= 350 for x in numbers[::2]) and all(10 <= y <= 172 for y in numbers[1::2])
    assert "nan" not in chart and "inf" not in chart
    assert len(chart) < 20_000


def test_curves_take_what_was_logged_and_count_what_was_not_finite() -> None:
    events = [
        {"stage": "rl", "step": 2, "reward/mean": 0.5, "groups/kept": 12},
        {"stage": "rl", "step": 1, "reward/mean": 0.25, "groups/kept": 20},
        {"stage": "rl", "step": 3, "reward/mean": None},
        {"stage": "rl", "step": 4, "reward/mean": math.nan},
        {"stage": "sft", "step": 1, "loss": 2.0},
    ]
    curves = {curve.title: curve for curve in learning_curves(events)}
    assert list(curves) == ["Cold start: loss", "Reward", "Groups that teach"]
    assert curves["Reward"].steps == [1, 2] and curves["Reward"].values == [0.25, 0.5]
    assert "2 values that are not finite" in curves["Reward"].note
    assert curves["Groups that teach"].unit == "number with reward variance", "a count is not called a share"
