"""Two kinds of chart in inline SVG: interval plots and learning curves. Colours are CSS classes, so themes need no second drawing.

Interval plots use percentages as x coordinates, so they fit any width with text of constant size. Curves have a fixed view box and stand
in a grid. A curve shows the raw numbers faint and an exponential moving average strong; long curves are thinned to the extremes of each
bucket, which keeps every spike visible. No line is drawn through missing values.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spadework.viewer.figures import Interval, bracketed, compact
from spadework.viewer.markup import Html, el, join, raw

__all__ = ["Curve", "Row", "curve_chart", "interval_plot", "nice_ticks", "smooth", "thin"]

_WIDTH, _HEIGHT = 360, 208
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 36
_MAX_POINTS = 240


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an interval plot."""

    label: str
    kind: str
    """Marker and colour: reading, sft, rl, gain, cold, or arm0 to arm5."""
    value: Interval | None


@dataclass(frozen=True, slots=True)
class Curve:
    """One learning curve: a metric against the steps of a stage."""

    title: str
    unit: str
    kind: str
    steps: list[float]
    values: list[float]
    domain: tuple[float | None, float | None] = (None, None)
    """Fixed ends of the y axis; None lets the data decide."""
    note: str = ""


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from at or below `low` to at or above `high`."""
    if not high > low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.7)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def smooth(values: Sequence[float], half_life: float) -> list[float]:
    """Exponential moving average, corrected for its start: the first value is itself, weights halve every `half_life` steps."""
    keep = 0.5 ** (1 / half_life)
    result, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        result.append(total / weight)
    return result


def thin(points: list[tuple[float, float]], limit: int = _MAX_POINTS) -> list[tuple[float, float]]:
    """At most about `limit` points: of each bucket the lowest and the highest, in order."""
    if len(points) <= limit:
        return points
    size = math.ceil(2 * len(points) / limit)
    kept = []
    for start in range(0, len(points), size):
        bucket = points[start : start + size]
        ends = {bucket.index(min(bucket, key=lambda p: p[1])), bucket.index(max(bucket, key=lambda p: p[1]))}
        kept += [bucket[index] for index in sorted(ends)]
    return kept


def _marker(kind: str) -> Html:
    shapes = {
        "reading": el("rect", x="-4.5", y="-4.5", width=9, height=9),
        "sft": el("path", d="M0-6.4 6.4 0 0 6.4-6.4 0Z"),
        "rl": el("circle", r="5.4"),
    }
    return el("g", shapes.get(kind, el("circle", r="5")), class_=f"mark {kind}")


def _track(row: Row, ticks: Sequence[float], zero: bool) -> Html:
    low, high = ticks[0], ticks[-1]

    def at(value: float) -> str:
        return f"{100 * min(1.0, max(0.0, (value - low) / (high - low))):.2f}%"

    grid = [el("line", x1=at(t), x2=at(t), y1="0", y2="100%", class_="zero" if zero and t == 0 else "grid") for t in ticks]
    marks: list[Html] = []
    if row.value is not None:
        value = row.value
        if value.low is not None and value.high is not None:
            marks.append(el("line", x1=at(value.low), x2=at(value.high), y1="50%", y2="50%", class_=f"span {row.kind}"))
        marks.append(el("svg", _marker(row.kind), x=at(value.mean), y="50%", overflow="visible", width=1, height=1))
    return el("svg", grid, marks, class_="track", aria_hidden="true")


def interval_plot(
    rows: Sequence[Row],
    *,
    show: Callable[[float], Html],
    ticks: Sequence[float],
    tick_text: Callable[[float], str | Html],
    zero: bool = False,
) -> Html:
    """Rows of a label, a dot with its 95 % interval on a common axis, and the same numbers as text.

    Args:
        rows: one per line; a row without a value says so.
        show: how a number is written.
        ticks: values of the grid lines; the first and the last are the ends of the axis.
        tick_text: how a tick is written.
        zero: mark the grid line at 0.
    """
    span = ticks[-1] - ticks[0]
    body = [
        join(
            el("span", row.label, class_=f"row-label {row.kind}"),
            _track(row, ticks, zero),
            el("span", bracketed(row.value, show), class_="row-value"),
        )
        for row in rows
    ]
    axis = [el("span", tick_text(t), style=f"left:{100 * (t - ticks[0]) / span:.2f}%") for t in ticks]
    return el("div", body, el("span"), el("div", axis, class_="axis", aria_hidden="true"), el("span"), class_="plot")


def _path(points: Sequence[tuple[float, float]], x: Callable[[float], float], y: Callable[[float], float]) -> str:
    return "M" + " ".join(f"{x(a):.1f} {y(b):.1f}" for a, b in points)


def curve_chart(curve: Curve) -> Html:
    """A learning curve with labelled axes, raw values faint, moving average strong, and its points as data for the read-out."""
    half_life = max(1.0, len(curve.values) / 60)
    smoothed = smooth(curve.values, half_life) if len(curve.values) >= 8 else list(curve.values)
    low = min(curve.values) if curve.domain[0] is None else curve.domain[0]
    high = max(curve.values) if curve.domain[1] is None else curve.domain[1]
    y_ticks = nice_ticks(low, max(high, low))
    first, last = curve.steps[0], max(curve.steps[-1], curve.steps[0] + 1)
    x_ticks = [tick for tick in nice_ticks(first, last) if first <= tick <= last]

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - first) / (last - first)

    def y(value: float) -> float:
        share = (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    grid = [
        join(
            el("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=f"{y(t):.1f}", y2=f"{y(t):.1f}", class_="grid"),
            el("text", compact(t), x=_LEFT - 7, y=f"{y(t) + 4:.1f}", text_anchor="end"),
        )
        for t in y_ticks
    ]
    feet = [el("text", compact(t), x=f"{x(t):.1f}", y=_HEIGHT - _BOTTOM + 17, text_anchor="middle") for t in x_ticks]
    feet.append(el("text", "step", x=(_WIDTH + _LEFT) / 2, y=_HEIGHT - 4, text_anchor="middle"))
    strong = thin(list(zip(curve.steps, smoothed, strict=True)))
    faint = thin(list(zip(curve.steps, curve.values, strict=True)))
    lines: list[Html] = []
    if len(faint) == 1:
        lines.append(el("circle", cx=f"{x(faint[0][0]):.1f}", cy=f"{y(faint[0][1]):.1f}", r=3, class_=f"dot {curve.kind}"))
    else:
        if len(curve.values) >= 8:
            lines.append(el("path", d=_path(faint, x, y), class_=f"raw {curve.kind}"))
        lines.append(el("path", d=_path(strong, x, y), class_=f"line {curve.kind}"))
    cursor = join(el("line", y1=_TOP, y2=_HEIGHT - _BOTTOM, class_="cursor"), el("circle", r=3.5, class_=f"dot {curve.kind}"))
    points = [[round(x(a), 1), round(y(b), 1), a, compact(b)] for a, b in faint]
    summary = f"{curve.title} ({curve.unit}): {compact(curve.values[0])} at step {compact(first)}, {compact(smoothed[-1])} at the end."
    picture = el(
        "svg",
        grid,
        feet,
        lines,
        el("g", cursor, class_="hover", visibility="hidden"),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        tabindex=0,
        aria_label=summary + " Arrow keys read the values.",
        data_points=json.dumps(points, separators=(",", ":")),
    )
    ends = join(compact(smoothed[0]), raw(" &rarr; "), compact(smoothed[-1]))
    heading = el("figcaption", el("b", curve.title), el("span", curve.unit, class_="unit"), el("output", ends, class_="read"))
    return el("figure", heading, picture, el("p", curve.note, class_="note") if curve.note else None, class_="curve")
