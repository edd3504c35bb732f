import html
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from spadework.viewer.contents import Contents
from spadework.viewer.figures import byte_size, compact, duration, interval, number, percent, points, thousands
from spadework.viewer.headline import headline


def words(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", markup)).replace("\u202f", "").replace("\xa0", " ")


def with_gain(contents: Contents, gain: dict[str, Any] | None) -> str:
    return words(headline(replace(contents, summary=contents.summary | {"gain": gain})))


def test_a_gain_above_zero_is_called_a_gain(contents: Contents) -> None:
    text = with_gain(contents, {"mean": 0.2, "low": 0.1, "high": 0.3, "n": 50})
    assert text.startswith(
        "Reinforcement learning raised success from 55% to 75% of held-out questions: a paired gain of +20.0 [+10.0, +30.0]"
    )
    assert "(n = 50)" in text and "A solved question now takes 2.64 [2.14, 3.14] tool calls instead of 5.34" in text


def test_an_interval_across_zero_is_no_change_whatever_the_means(contents: Contents) -> None:
    text = with_gain(contents, {"mean": 0.2, "low": -0.01, "high": 0.41, "n": 50})
    assert "no measurable difference" in text and "an interval that includes 0" in text and "raised" not in text


def test_a_loss_is_called_a_loss(contents: Contents) -> None:
    assert "lowered success" in with_gain(contents, {"mean": -0.2, "low": -0.3, "high": -0.1, "n": 50})


def test_no_interval_no_claim(contents: Contents) -> None:
    assert "no claim is made" in with_gain(contents, {"mean": 0.2})
    assert "no claim is made" in with_gain(contents, None)


@pytest.mark.parametrize(
    ("show", "value", "expected"),
    [
        (percent, 0.453, "45%"),
        (points, -0.004, "\u22120.4"),
        (points, 0.0001, "0.0"),
        (number, -0.001, "0.00"),
        (compact, 12_345.0, "12.3k"),
        (compact, -2e-5, "-2e-5"),
        (compact, 0.0, "0"),
        (duration, 119.0, "119 s"),
        (duration, 7_260.0, "2 h 1 min"),
        (byte_size, 1.31e9, "1.31 GB"),
        (thousands, 1_234_567.0, "1234567"),
    ],
)
def test_numbers(show: Callable[[float], str], value: float, expected: str) -> None:
    assert words(show(value)) == expected


def test_what_is_not_a_number_is_no_interval() -> None:
    assert interval(None) is None and interval({"mean": float("nan")}) is None and interval({"low": 1}) is None and interval(True) is None
    only = interval({"mean": 1, "low": None, "high": float("inf"), "n": 3})
    assert only is not None and only.low is None and only.high is None and not only.excludes_zero
