"""The page of a comparison: the verdict in a sentence, effects with intervals, learning curves over what was spent, and the budgets.

The verdict is that of `evals/arms.py`. Where no difference is shown, the page says how large one would have had to be; where budgets were
not equal, it says so right below the verdict.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spadework.core.errors import InputError
from spadework.core.events import read_events, read_json, write_atomic
from spadework.viewer.charts import Row, interval_plot, nice_ticks, smooth
from spadework.viewer.figures import Interval, bracketed, duration, finite, interval, number, percent, points, thousands
from spadework.viewer.markup import Html, el, join
from spadework.viewer.page import page
from spadework.viewer.plots import Series, series_chart
from spadework.viewer.sections import missing, numbers, section

__all__ = ["budget_line", "effect_line", "is_comparison", "write_comparison"]

_FIGURES = (
    ("success", "Success", percent),
    ("calls", "Calls per question", number),
    ("calls_per_solved", "Calls per solved question", number),
    ("tokens", "Sampled tokens per question", number),
    ("evidence_recall", "Evidence recall", percent),
)
_ROOM = 1.0
"""Half-life of the curves' moving average, in steps, is at least this."""


def is_comparison(folder: Path) -> bool:
    """Whether a folder holds a comparison, finished or not."""
    return (folder / "comparison.json").is_file()


def write_comparison(folder: Path, out: Path | None = None) -> Path:
    """Write the page of a comparison: `compare.html` in its folder, or another file.

    Raises:
        InputError: the comparison is not finished, or the disk is full.
    """
    if not (folder / "summary.json").is_file():
        raise InputError(f"{folder}: the comparison has no summary.json yet; finish it with `spadework compare ... --resume`")
    summary = read_json(folder / "summary.json")
    curves = {name: _curves(folder, arm) for name, arm in summary["arms"].items()}
    parts = [
        ("effect", "Effect", _effect_section(summary)),
        ("curves", "Curves", _curve_section(summary, curves)),
        ("figures", "Figures", _figure_section(summary)),
        ("budget", "Budget", _budget_section(summary)),
        ("recipes", "Recipes", _recipe_section(summary)),
    ]
    path = out or folder / "compare.html"
    write_atomic(path, page(f"{' and '.join(summary['arms'])}: a Spadework comparison", _hero(summary), parts))
    return path


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "\u2212")


def effect_line(summary: Mapping[str, Any], arm: str) -> str:
    """What the comparison says of an arm, as one line of text. Differences are in percentage points of success."""
    effect, base = summary["effects"][arm], summary["baseline"]
    success = effect["differences"]["success"]
    size = f"{_signed(success['mean'])} points [{_signed(success['low'])}, {_signed(success['high'])}]"
    over = f"over {success['n']} paired seeds (p = {effect['p']:.2g})"
    crossed = effect["crossed"]
    wide = f"[{_signed(crossed['low'])}, {_signed(crossed['high'])}]"
    if effect["verdict"] != "none":
        doubt = " includes 0" if crossed["low"] <= 0 <= crossed["high"] else ""
        word = effect["verdict"]
        return f"{arm} is {word} {base}: {size} {over}. With other questions too, the interval {wide}{doubt or ' stays on that side'}."
    line = f"No difference between {arm} and {base} is shown: {size} {over}"
    if success["low"] <= 0 <= success["high"] and effect["detectable"] is not None:
        miss = f"an effect under {100 * effect['detectable']:.1f} points would be missed more than one time in five"
        return f"{line}, an interval that includes 0; with this n {miss}."
    if effect["detectable"] is None:
        return f"{line}; all seeds differ by the same amount, which gives no spread to judge by."
    return f"{line}; the interval alone excludes 0, but not after the correction for {len(summary['effects'])} comparisons."


def budget_line(summary: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether all runs spent the same budget, to within a step, and a sentence that says so or names the worst exception."""
    runs = [(name, run) for name, arm in summary["arms"].items() for run in arm["runs"]]
    if summary["budget"] is None:
        spent = {name: sum(run["tokens"] for run in arm["runs"]) / len(arm["runs"]) for name, arm in summary["arms"].items()}
        least, most = min(spent, key=lambda n: spent[n]), max(spent, key=lambda n: spent[n])
        times = spent[most] / spent[least] if spent[least] else float("inf")
        return (
            False,
            f"No budget was set: each arm ran its own number of steps, and {most} sampled {times:.2f} times the tokens of {least}.",
        )
    limits = " and ".join(f"{limit:,} {name}".replace(",", "\u202f") for name, limit in summary["budget"].items())
    name, worst = min(runs, key=lambda pair: pair[1]["budget_share"])
    if worst["budget_share"] < 1:
        early = sum(run["budget_share"] < 1 for _, run in runs)
        share = f"{100 * worst['budget_share']:.0f} %"
        return False, (
            f"Budgets were not equal: {early} of {len(runs)} runs ended before their budget of {limits}, because their steps ended first; "
            f"{name}, seed {worst['seed']}, spent {share} of it. Raise rl.steps."
        )
    name, worst = max(runs, key=lambda pair: pair[1]["budget_share"])
    over = f"{100 * (worst['budget_share'] - 1):.1f} %"
    return True, f"Every run spent its budget of {limits}; the last step went beyond it by at most {over} ({name}, seed {worst['seed']})."


def _kinds(summary: Mapping[str, Any]) -> dict[str, str]:
    return {name: f"arm{index % 6}" for index, name in enumerate(summary["arms"])}


def _hero(summary: Mapping[str, Any]) -> Html:
    lines = [effect_line(summary, name) for name in summary["effects"]]
    equal, budget = budget_line(summary)
    facts = [("Baseline", summary["baseline"]), ("Seeds per arm", len(summary["seeds"])), ("Held-out questions", summary["questions"])]
    if before := summary["cold_start"]:
        facts.append(("Success of the cold start", percent(before["success"], 1)))
    pairs = [el("div", el("dt", label), el("dd", value)) for label, value in facts]
    return join(
        el("h1", lines[0]),
        [el("p", line, class_="lead") for line in lines[1:]],
        el("p", budget, class_="fine" if equal else "alert"),
        el("dl", pairs, class_="facts"),
    )


def _effect_section(summary: Mapping[str, Any]) -> Html:
    kinds = _kinds(summary)
    ways = {
        "over seeds": {name: interval(effect["differences"]["success"]) for name, effect in summary["effects"].items()},
        "over seeds and questions": {name: interval(effect["crossed"]) for name, effect in summary["effects"].items()},
    }
    known = [value for values in ways.values() for value in values.values() if value]
    ends = [end for value in known for end in (value.low, value.high) if end is not None]
    ticks = nice_ticks(min(0.0, *ends), max(0.0, *ends), 5)
    panels = []
    for way, values in ways.items():
        rows = [Row(name, kinds[name], value) for name, value in values.items()]
        plot = interval_plot(rows, show=points, ticks=ticks, tick_text=lambda t: points(t, 0), zero=True)
        heading = el("h3", f"Success minus that of {summary['baseline']}", el("span", f"points, {way}", class_="unit"))
        panels.append(el("div", heading, plot, class_="panel"))
    table = [
        [join(name, ": ", label), *_difference(interval(effect["differences"].get(key)), percent if show is percent else number)]
        for name, effect in summary["effects"].items()
        for key, label, show in _FIGURES
    ]
    lead = (
        f"Paired by seed: seed K gives all arms the same tasks and sampling streams. n = {len(summary['seeds'])} seeds. The first interval "
        "is Student's t over seeds, for these questions; the second also draws other questions (bootstrap)."
    )
    note = el("p", "An interval that crosses 0 is no evidence of a difference.", class_="note")
    body = join(el("div", panels, class_="panels"), note)
    return section("effect", "Effect", lead, body, numbers("All differences as a table", ["Figure", "Difference", "95 % interval"], table))


def _difference(value: Interval | None, show: Any) -> list[Html | str]:
    if value is None or value.low is None or value.high is None:
        return ["not known in every run", ""]
    return [show(value.mean), join(show(value.low), " to ", show(value.high))]


def _curves(folder: Path, arm: Mapping[str, Any]) -> dict[str, list[list[tuple[float, float]]]]:
    """Per metric a smoothed curve for each seed: sampled tokens so far and the value."""
    found: dict[str, list[list[tuple[float, float]]]] = {"success": [], "num_calls/mean": [], "response_length/mean": []}
    for run in arm["runs"]:
        events = [event for event in read_events(folder / run["folder"] / "events.jsonl") if event["stage"] == "rl"]
        for name, curves in found.items():
            known = [(event["spent/tokens"], value) for event in events if (value := finite(event.get(name))) is not None]
            smoothed = smooth([value for _, value in known], max(_ROOM, len(known) / 20))
            curves.append([(x, y) for (x, _), y in zip(known, smoothed, strict=True)])
    return found


def _curve_section(summary: Mapping[str, Any], curves: Mapping[str, Mapping[str, list[list[tuple[float, float]]]]]) -> Html:
    kinds = _kinds(summary)
    panels: list[Html] = []
    gaps: list[Html] = []
    shown = (
        ("success", "Success in training", "share of sampled trajectories", 1.0),
        ("num_calls/mean", "Calls per trajectory", "tool calls", None),
        ("response_length/mean", "Sampled tokens per trajectory", "tokens", None),
    )
    for key, title, unit, top in shown:
        series = [Series(name, kinds[name], found[key]) for name, found in curves.items() if any(found[key])]
        if absent := [name for name, found in curves.items() if not any(found[key])]:
            gaps.append(missing(f"{title} was not logged by {', '.join(absent)}."))
        if series:
            limit = (summary["budget"] or {}).get("tokens")
            panels.append(series_chart(title, unit, "sampled tokens", series, limit=limit, top=top))
    lead = (
        "Thin: one seed, as a moving average over its steps. Strong: mean of the seeds. The x axis is what was spent, not steps. Training "
        "tasks and temperature 1: the held-out result is above."
    )
    return section("curves", "Learning curves", lead, el("div", panels, class_="plots"), *gaps)


def _figure_section(summary: Mapping[str, Any]) -> Html:
    kinds = _kinds(summary)
    panels, table = [], []
    for key, title, show in _FIGURES:
        values = {name: interval(arm["figures"].get(key)) for name, arm in summary["arms"].items()}
        before = finite((summary["cold_start"] or {}).get(key))
        rows = [Row(name, kinds[name], value) for name, value in values.items()]
        if before is not None:
            rows.insert(0, Row("cold start", "cold", Interval(before, None, None, None)))
        if not any(row.value for row in rows):
            continue
        high = max(end for row in rows if row.value for end in (row.value.high, row.value.mean) if end is not None)
        ticks = [0.0, 0.25, 0.5, 0.75, 1.0] if show is percent else nice_ticks(0.0, max(high, 0.01), 4)
        text = (lambda t: f"{100 * t:.0f}") if show is percent else (lambda t: f"{t:g}")
        panels.append(el("div", el("h3", title), interval_plot(rows, show=show, ticks=ticks, tick_text=text), class_="panel"))
        table.append([title, *(bracketed(value, show, n=True) for value in values.values())])
    lead = "After RL, greedy, on the same held-out questions. Dots are means over seeds, lines 95 % intervals over seeds."
    each = numbers("Figures as a table", ["Figure", *summary["arms"]], table)
    return section("figures", "What each arm reaches", lead, el("div", panels, class_="panels"), each)


def _budget_section(summary: Mapping[str, Any]) -> Html:
    rows: list[list[Html | str]] = []
    for name, arm in summary["arms"].items():
        for run in arm["runs"]:
            share = run["budget_share"]
            rows.append(
                [
                    f"{name}, seed {run['seed']}",
                    percent(run["success"], 1),
                    str(run["steps"]),
                    thousands(run["tokens"]),
                    thousands(run["calls"]),
                    duration(run["seconds"]),
                    "none" if share is None else percent(share, 1),
                    "none" if share is None else percent(run["last_step_share"], 1),
                ]
            )
    header = ["Run", "Success", "Steps", "Sampled tokens", "Tool calls", "RL time", "Share of the budget", "Its last step"]
    lead = (
        "What RL spent, run by run: all that was sampled, trained on or not. A run ends after the step that reaches its budget, so it "
        "may go beyond it by less than that step. Under 100 % its steps ended first."
    )
    return section("budget", "Budget", lead, numbers("Spending of every run", header, rows, unfolded=True))


def _recipe_section(summary: Mapping[str, Any]) -> Html:
    names = list(summary["arms"])
    rows: list[list[Html | str]] = [
        [el("code", row["key"]), *("\u2013" if row["values"][name] is None else str(row["values"][name]) for name in names)]
        for row in summary["separates"]
    ]
    about = [el("p", el("b", name), " ", arm["description"], class_="note") for name, arm in summary["arms"].items() if arm["description"]]
    lead = "Every setting in which the arms differ. All else is the same: data, model, tools, cold start, evaluation."
    body = numbers("Settings that differ", ["Setting", *names], rows, unfolded=True) if rows else missing("The recipes do not differ.")
    return section("recipes", "What separates the recipes", lead, *about, body)
