"""Charts of several runs at once in inline SVG: curves with a thin line per seed, and points with intervals on both axes.

A point's numbers stand in a `<title>`, which every browser shows on pointing, without a script. Colours are CSS classes, as in `charts.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spadework.viewer.charts import nice_ticks, thin
from spadework.viewer.figures import Interval, compact
from spadework.viewer.markup import Html, el, join

__all__ = ["Mark", "Series", "mean_curve", "scatter_chart", "series_chart"]

_WIDTH, _HEIGHT = 560, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 16, 14, 42

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Series:
    """An arm: a curve for each of its seeds."""

    name: str
    kind: str
    """Colour: arm0 to arm5."""
    curves: list[Points]


@dataclass(frozen=True, slots=True)
class Mark:
    """A result in a plane of two figures."""

    name: str
    x: Interval
    y: Interval
    beaten: bool
    """Another result is at least as good in both figures, and better in one."""


def mean_curve(curves: Sequence[Points], count: int = 60) -> Points:
    """The mean of curves over the x that all of them have, at evenly spaced places; between its points a curve is linear."""
    known = [curve for curve in curves if curve]
    if len(known) < len(curves) or not known:
        return []
    low, high = max(curve[0][0] for curve in known), min(curve[-1][0] for curve in known)
    if not high > low:
        return []
    places = [low + (high - low) * index / (count - 1) for index in range(count)]
    return [(x, sum(_at(curve, x) for curve in known) / len(known)) for x in places]


def _at(curve: Points, x: float) -> float:
    after = next((index for index, point in enumerate(curve) if point[0] >= x), len(curve) - 1)
    (x1, y1) = curve[after]
    if after == 0 or x1 == x:
        return y1
    (x0, y0) = curve[after - 1]
    return y0 + (y1 - y0) * min(1.0, (x - x0) / (x1 - x0))


@dataclass(frozen=True, slots=True)
class _Plane:
    """Where a value lies in the picture, and the axes around it."""

    x_ticks: list[float]
    y_ticks: list[float]

    def x(self, value: float) -> float:
        low, high = self.x_ticks[0], self.x_ticks[-1]
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (min(high, max(low, value)) - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (min(high, max(low, value)) - low) / (high - low)

    def path(self, points: Points) -> str:
        return "M" + " ".join(f"{self.x(a):.1f} {self.y(b):.1f}" for a, b in points)

    def axes(self, x_name: str) -> Html:
        rows = [
            join(
                el("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=f"{self.y(t):.1f}", y2=f"{self.y(t):.1f}", class_="grid"),
                el("text", compact(t), x=_LEFT - 7, y=f"{self.y(t) + 4:.1f}", text_anchor="end"),
            )
            for t in self.y_ticks
        ]
        feet = [el("text", compact(t), x=f"{self.x(t):.1f}", y=_HEIGHT - _BOTTOM + 17, text_anchor="middle") for t in self.x_ticks]
        name = el("text", x_name, x=(_WIDTH + _LEFT - _RIGHT) / 2, y=_HEIGHT - 5, text_anchor="middle")
        return join(rows, feet, name)


def _figure(title: str, unit: str, summary: str, *children: Html | None, key: Html | None = None) -> Html:
    picture = el("svg", *children, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=summary)
    return el("figure", el("figcaption", el("b", title), el("span", unit, class_="unit")), key, picture, class_="curve")


def series_chart(
    title: str, unit: str, x_name: str, series: Sequence[Series], *, limit: float | None = None, top: float | None = None
) -> Html:
    """Curves of several arms: thin per seed, strong for the mean of the seeds.

    Args:
        title: what is drawn.
        unit: of it.
        x_name: what the x axis counts.
        series: the arms; one without points is not drawn.
        limit: a vertical line, the budget.
        top: fixed upper end of the y axis.
    """
    points = [point for arm in series for curve in arm.curves for point in curve]
    right = max([x for x, _ in points] + ([limit] if limit else []))
    low = min(0.0, *(y for _, y in points)) if top is not None else min(y for _, y in points)
    plane = _Plane(nice_ticks(0.0, right), nice_ticks(low, max(y for _, y in points) if top is None else top))
    lines: list[Html] = []
    for arm in series:
        lines += [el("path", d=plane.path(thin(curve)), class_=f"raw thin {arm.kind}") for curve in arm.curves if len(curve) > 1]
    for arm in series:
        if mean := mean_curve(arm.curves):
            hover = el("title", f"{arm.name}: {compact(mean[0][1])} to {compact(mean[-1][1])}, mean of {len(arm.curves)} seeds")
            lines.append(el("g", hover, el("path", d=plane.path(mean), class_=f"line {arm.kind}")))
    if limit:
        at = f"{plane.x(limit):.1f}"
        lines.append(el("line", x1=at, x2=at, y1=_TOP, y2=_HEIGHT - _BOTTOM, class_="limit"))
    swatch = {arm.kind: el("svg", el("path", d="M1 5H25", class_=f"line {arm.kind}"), viewBox="0 0 26 10") for arm in series}
    key = [el("span", swatch[arm.kind], arm.name, class_=arm.kind) for arm in series]
    summary = f"{title} against {x_name} for {', '.join(arm.name for arm in series)}"
    return _figure(title, unit, summary, plane.axes(x_name), *lines, key=el("p", key, class_="key"))


def scatter_chart(title: str, x_name: str, unit: str, marks: Sequence[Mark], *, larger_x: bool, show: Callable[[Interval], str]) -> Html:
    """Results as points with their intervals; those on the frontier are joined by steps.

    Args:
        title: of the chart.
        x_name: what the x axis says.
        unit: of the y axis.
        marks: the results.
        larger_x: whether more of x is better.
        show: how an x is written in the hover text.
    """
    xs = [value for mark in marks for value in (mark.x.mean, mark.x.low, mark.x.high) if value is not None]
    ys = [value for mark in marks for value in (mark.y.mean, mark.y.low, mark.y.high) if value is not None]
    plane = _Plane(nice_ticks(max(0.0, min(xs)), max(xs)), nice_ticks(max(0.0, min(ys)), min(1.0, max(ys))))
    best = sorted(((mark.x.mean, mark.y.mean) for mark in marks if not mark.beaten), reverse=larger_x)
    steps: Points = []
    for place in best:
        steps += [(place[0], steps[-1][1])] if steps else []
        steps.append(place)
    frontier = el("path", d=plane.path(steps), class_="frontier") if len(best) > 1 else None
    # A name stands on the side that points away from its neighbour's.
    order = sorted(marks, key=lambda mark: mark.x.mean)
    beside = [order[index - 1 if index else 1] if len(order) > 1 else mark for index, mark in enumerate(order)]
    dots = [_point(plane, mark, show, above=mark.y.mean >= other.y.mean) for mark, other in zip(order, beside, strict=True)]
    return _figure(title, unit, f"{title}: {len(marks)} results", plane.axes(x_name), frontier, *dots)


def _point(plane: _Plane, mark: Mark, show: Callable[[Interval], str], *, above: bool) -> Html:
    x, y = plane.x(mark.x.mean), plane.y(mark.y.mean)
    whiskers = []
    if mark.x.low is not None and mark.x.high is not None:
        ends = (f"{plane.x(mark.x.low):.1f}", f"{plane.x(mark.x.high):.1f}")
        whiskers.append(el("line", x1=ends[0], x2=ends[1], y1=f"{y:.1f}", y2=f"{y:.1f}", class_="whisker"))
    if mark.y.low is not None and mark.y.high is not None:
        ends = (f"{plane.y(mark.y.low):.1f}", f"{plane.y(mark.y.high):.1f}")
        whiskers.append(el("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=ends[0], y2=ends[1], class_="whisker"))
    right = x < _WIDTH * 0.7
    anchor = "start" if right else "end"
    tag = el("text", mark.name, x=f"{x + (9 if right else -9):.1f}", y=f"{y + (-8 if above else 18):.1f}", text_anchor=anchor, class_="tag")
    place = "dominated" if mark.beaten else "on the frontier"
    hover = el("title", f"{mark.name}: success {_share(mark.y)}; {show(mark.x)}; {place}")
    dot = el("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=6, class_="point")
    return el("g", hover, *whiskers, dot, tag, class_="beaten" if mark.beaten else "best")


def _share(value: Interval) -> str:
    span = "" if value.low is None or value.high is None else f" [{100 * value.low:.1f}, {100 * value.high:.1f}]"
    return f"{100 * value.mean:.1f}{span} %"
