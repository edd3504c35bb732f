"""Numbers as a reader wants them: a mean never without its interval and n, units spelled out, no false digits.

All intervals in a run's summary are 95 % intervals (invariant 10). A number that is missing or not finite is shown as a dash, never as 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spadework.viewer.markup import Html, el, join, raw

__all__ = [
    "DASH",
    "Interval",
    "bracketed",
    "byte_size",
    "compact",
    "duration",
    "finite",
    "interval",
    "magnitude",
    "number",
    "percent",
    "points",
    "thousands",
]

DASH = raw("&ndash;")
_MINUS = raw("&minus;")
_PERCENT = raw("&#8239;%")


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval."""

    mean: float
    low: float | None
    high: float | None
    n: int | None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval is known and lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def finite(value: Any) -> float | None:
    """The value as a finite float, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def interval(value: Any) -> Interval | None:
    """Read {mean, low, high, n} or a bare number; None when there is no finite mean."""
    if not isinstance(value, Mapping):
        mean = finite(value)
        return None if mean is None else Interval(mean, None, None, None)
    mean, n = finite(value.get("mean")), finite(value.get("n"))
    if mean is None:
        return None
    return Interval(mean, finite(value.get("low")), finite(value.get("high")), None if n is None else int(n))


def number(value: float, digits: int = 2) -> Html:
    """A plain number with a true minus sign."""
    text = f"{abs(value):.{digits}f}"
    return join(_MINUS if value < 0 and float(text) != 0 else None, text)


def percent(value: float, digits: int = 0) -> Html:
    """A share as per cent."""
    return join(number(100 * value, digits), _PERCENT)


def points(value: float, digits: int = 1) -> Html:
    """A difference of shares in percentage points, with its sign."""
    return join("+" if round(100 * value, digits) > 0 else None, number(100 * value, digits))


def bracketed(value: Interval | None, show: Any, *, n: bool = False) -> Html:
    """Mean, then the interval in small brackets, then n on request."""
    if value is None:
        return DASH
    span = None
    if value.low is not None and value.high is not None:
        span = el("span", " [", show(value.low), ", ", show(value.high), "]", class_="ci")
    count = el("span", raw(" n&nbsp;=&nbsp;"), value.n, class_="ci") if n and value.n is not None else None
    return join(el("span", show(value.mean), class_="mean"), span, count)


def thousands(value: float) -> Html:
    """An integer with thin spaces between groups of three digits."""
    return raw(f"{round(value):,}".replace(",", "&#8239;").replace("-", "&minus;"))


def magnitude(value: float) -> str:
    """Two digits of a large count: 1930000 -> 1.9M."""
    size, unit = next(((10.0**power, unit) for power, unit in ((9, "B"), (6, "M"), (3, "k")) if value >= 10**power), (1.0, ""))
    return f"{value / size:.2g}{unit}" if value / size < 100 else f"{value / size:.0f}{unit}"


def compact(value: float) -> str:
    """Short form for axis ticks: 1200 -> 1.2k, 0.00002 -> 2e-5."""
    size = abs(value)
    if size == 0:
        return "0"
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= limit:
            return f"{value / limit:.3g}{suffix}"
    if size < 1e-3:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.3g}"


def duration(seconds: float) -> Html:
    """Seconds below two minutes, else minutes, else hours and minutes."""
    if seconds < 120:
        return join(f"{seconds:.0f}", raw("&nbsp;s"))
    minutes = round(seconds / 60)
    if minutes < 120:
        return join(minutes, raw("&nbsp;min"))
    return join(minutes // 60, raw("&nbsp;h&nbsp;"), minutes % 60, raw("&nbsp;min"))


def byte_size(count: float) -> Html:
    """Bytes in MB or GB (powers of ten)."""
    return join(f"{count / 1e9:.2f}", raw("&nbsp;GB")) if count >= 1e9 else join(f"{count / 1e6:.0f}", raw("&nbsp;MB"))
