"""Charts of several runs: means by hand, frontiers, and text in place of a script."""

import re

import pytest

from spadework.viewer.figures import Interval
from spadework.viewer.plots import Mark, Series, mean_curve, scatter_chart, series_chart


def test_the_mean_of_curves_by_hand() -> None:
    # Over what both have, 10 to 20: the first runs from 1 to 2, the second from 3 to 4 (2 at 0, 3 at 10, 5 at 30).
    curves = [[(10.0, 1.0), (20.0, 2.0)], [(0.0, 2.0), (10.0, 3.0), (30.0, 5.0)]]
    assert mean_curve(curves, count=3) == [(10.0, 2.0), (15.0, 2.5), (20.0, 3.0)]
    assert mean_curve([[(0.0, 1.0)], [(5.0, 1.0)]]) == [], "nothing in common"
    assert mean_curve([[(0.0, 1.0), (1.0, 1.0)], []]) == [], "a seed without values leaves no mean of all seeds"


def mark(name: str, x: float, y: float, beaten: bool = False) -> Mark:
    return Mark(name, Interval(x, x - 0.1, x + 0.1, 5), Interval(y, y - 0.05, y + 0.05, 5), beaten)


def test_a_point_says_its_numbers_and_whether_it_is_beaten() -> None:
    marks = [mark("<a>", 1.0, 0.5), mark("b", 3.0, 0.8), mark("c", 3.5, 0.6, beaten=True)]
    text = scatter_chart("Calls", "calls", "success", marks, larger_x=False, show=lambda value: f"{value.mean:g} calls")
    assert "<title>&lt;a&gt;: success 50.0 [45.0, 55.0] %; 1 calls; on the frontier</title>" in text
    assert "c: success 60.0 [55.0, 65.0] %; 3.5 calls; dominated" in text and text.count('class="beaten"') == 1
    # From a to the right, then up to b.
    [path] = re.findall(r'd="M([^"]+)" class="frontier"', text)
    points = [float(value) for value in path.split()]
    assert len(points) == 6 and points[2] == points[4] > points[0] and points[1] == points[3] > points[5]
    alone = scatter_chart("Calls", "calls", "success", marks[:1], larger_x=False, show=str)
    assert 'frontier"' not in alone


@pytest.mark.parametrize("limit", [None, 250.0])
def test_curves_have_a_line_per_seed_and_the_budget(limit: float | None) -> None:
    series = [Series("base", "arm0", [[(100.0, 0.1), (200.0, 0.3)]] * 2), Series("new", "arm1", [[(90.0, 0.2), (210.0, 0.4)]] * 3)]
    text = series_chart("Success", "share", "tokens", series, limit=limit, top=1.0)
    assert text.count('class="raw thin arm0"') == 2 and text.count('class="raw thin arm1"') == 3
    assert "new: 0.2 to 0.4, mean of 3 seeds" in text and ('class="limit"' in text) == (limit is not None)
