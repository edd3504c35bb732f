"""What was learned, in two sentences that a sceptic would sign.

The verdict follows the interval of the paired gain and nothing else: above 0 it is a gain, below 0 a loss, across 0 it is no measurable
change, whatever the means look like. Without an interval nothing is claimed.
"""

from collections.abc import Mapping
from typing import Any

from spadework.viewer.contents import Contents
from spadework.viewer.figures import Interval, bracketed, interval, number, percent, points
from spadework.viewer.markup import Html, el, join, raw

__all__ = ["before_after", "headline"]

_DID = {"reading": "Reading alone", "sft": "The cold start (SFT)", "rl": "Reinforcement learning"}


def before_after(run: Contents) -> tuple[str | None, str | None]:
    """The stages that the report compares: the last one, and the one before it."""
    names = list(run.stages)
    return (names[-2] if len(names) > 1 else None), (names[-1] if names else None)


def headline(run: Contents) -> Html:
    """Two sentences: success with its paired gain, then cost."""
    before, after = before_after(run)
    if after is None:
        return join("This run has no results yet.")
    stages = run.stages
    new = interval(stages[after].get("success"))
    if new is None:
        return join(f"{_DID[after]} has finished, but its success was not measured.")
    old = interval(stages[before].get("success")) if before else None
    if before is None or old is None or after != "rl":
        first = join(_DID[after], " answers ", _strong(new), " of the held-out questions", _count(new), ". ")
        rest = join("There was no RL stage to compare it with. ") if after != "rl" else join("There is nothing before it to compare with. ")
        return join(first, rest)
    return join(_verdict(old, new, interval(run.summary.get("gain"))), " ", _cost(stages[before], stages[after]))


def _strong(value: Interval) -> Html:
    return el("strong", bracketed(value, percent))


def _count(value: Interval) -> Html | None:
    return join(" (", raw("n&nbsp;=&nbsp;"), value.n, ")") if value.n is not None else None


def _verdict(old: Interval, new: Interval, gain: Interval | None) -> Html:
    change = join("from ", el("strong", percent(old.mean)), " to ", el("strong", percent(new.mean)), " of held-out questions")
    if gain is None or gain.low is None or gain.high is None:
        return join("Success went ", change, " with reinforcement learning; the paired gain was not measured, so no claim is made.")
    size = join("a paired gain of ", el("strong", bracketed(gain, points)), " percentage points", _count(gain))
    if not gain.excludes_zero:
        return join(
            "Reinforcement learning made no measurable difference: success went ", change, ", ", size, ", an interval that includes 0."
        )
    verb = "raised" if gain.mean > 0 else "lowered"
    return join(f"Reinforcement learning {verb} success ", change, ": ", size, ".")


def _cost(before: Mapping[str, Any], after: Mapping[str, Any]) -> Html | None:
    """Calls per solved question: those of a policy that gives up early are no saving."""
    old, new = interval(before.get("calls_per_solved")), interval(after.get("calls_per_solved"))
    if old is None or new is None:
        return None
    return join(
        "A solved question now takes ", el("strong", bracketed(new, number)), " tool calls instead of ", bracketed(old, number), "."
    )
