"""The sections of a report, each a function from a run to HTML, or to a sentence that says what is missing.

Order and wording are those of a paper's results: effect with its interval first, cost next, how it was learned, then cases, then what is
needed to repeat it. Every chart's numbers also stand in a table.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from spadework.tasks.task import Task
from spadework.trajectories.tree import Status
from spadework.viewer.charts import Row, curve_chart, interval_plot, nice_ticks
from spadework.viewer.contents import STAGES, Contents
from spadework.viewer.curves import learning_curves
from spadework.viewer.examples import CHANGES, Pair, choose, pair_up
from spadework.viewer.figures import (
    DASH,
    Interval,
    bracketed,
    byte_size,
    duration,
    finite,
    interval,
    magnitude,
    number,
    percent,
    points,
    thousands,
)
from spadework.viewer.headline import before_after
from spadework.viewer.markup import Html, el, join, raw
from spadework.viewer.tokens import script_json, token_data
from spadework.viewer.turns import attempt_card, stage_name

__all__ = [
    "cost_section",
    "curve_section",
    "example_section",
    "facts",
    "hop_section",
    "missing",
    "numbers",
    "recipe_section",
    "section",
    "tiles",
    "token_section",
]

_SHORT = {"reading": "Reading", "sft": "SFT", "rl": "RL"}
_OPEN = 2
"""Examples that are unfolded when the page opens."""
_SHARES = [0, 0.25, 0.5, 0.75, 1]
_SUCCESS = ("success", "Success", "share of questions answered exactly", percent)
_MEASURES: tuple[tuple[str, str, str, Callable[[float], Html]], ...] = (
    ("calls", "Calls per question", "tool calls, mean over all questions", number),
    ("calls_per_solved", "Calls per solved question", "all calls divided by solved questions", number),
    ("evidence_recall", "Evidence recall", "share of the gold pages that were shown to the policy", percent),
    ("f1", "Answer F1", "token overlap with the gold answer", percent),
    ("format_errors", "Format errors", "turns that could not be read, per question", number),
)
_CHANGE_WORDS = {
    "gained": ("wrong", "right", "fixed"),
    "lost": ("right", "wrong", "lost"),
    "kept": ("right", "right", "right both times"),
    "missed": ("wrong", "wrong", "wrong both times"),
}


def section(anchor: str, title: str, lead: Html | str | None, *body: Html | None) -> Html:
    """A titled section of the page."""
    heading = el("h2", el("a", title, href=f"#{anchor}"))
    return el("section", heading, el("p", lead, class_="lead") if lead else None, *body, id=anchor, class_="block")


def missing(text: str) -> Html:
    """A sentence in place of what is not there."""
    return el("p", text, class_="missing")


def numbers(summary: str, header: list[str], rows: list[list[Html | str]], *, unfolded: bool = False) -> Html:
    """A table under a summary line."""
    head = el("thead", el("tr", [el("th", cell, scope="col") for cell in header]))
    body = el("tbody", [el("tr", el("th", row[0], scope="row"), [el("td", cell) for cell in row[1:]]) for row in rows])
    table = el("div", el("table", head, body), class_="scroll", tabindex=0, role="region", aria_label=summary)
    return el("details", el("summary", summary), table, class_="numbers", open=unfolded)


def facts(run: Contents) -> Html:
    """Run, seed, time, memory, model, world, machine: what a reader asks first. Unknown facts are left out."""
    summary, manifest = run.summary, run.manifest
    data = summary.get("data") or {}
    seed = summary.get("seed", (manifest.get("seeds") or {}).get("run"))
    tokens = sum(finite(stage.get("trained_tokens")) or 0 for stage in run.stages.values())
    world = data.get("test_world") or next((value for value in data.values() if isinstance(value, str)), None)
    known: list[tuple[str, Any, Callable[[Any], Html | str]]] = [
        ("Run", run.name, str),
        ("Seed", seed, str),
        ("Time", finite(summary.get("seconds")), duration),
        ("Peak memory", finite(summary.get("peak_rss_bytes")), byte_size),
        ("Policy", finite(summary.get("parameters")), lambda size: join(magnitude(size), " parameters")),
        ("Trained on", tokens or None, lambda count: join(magnitude(count), " tokens")),
        ("Held-out corpus", finite(data.get("pages_test")), lambda pages: join(thousands(pages), " pages")),
        ("Held-out world", world, lambda code: el("code", str(code)[:12])),
        ("Machine", finite(manifest.get("cpu_count")), lambda cores: f"{cores:.0f} CPU cores"),
    ]
    pairs = [el("div", el("dt", label), el("dd", show(value))) for label, value, show in known if value is not None]
    return el("dl", pairs, class_="facts")


def tiles(run: Contents) -> Html | None:
    """Before and after of the four figures that matter, large."""
    before, after = before_after(run)
    if after is None:
        return None
    stages = run.stages
    shown = []
    for key, label, _, show in (_SUCCESS, *_MEASURES[:3]):
        new = interval(stages[after].get(key))
        if new is None:
            continue
        old = interval(stages[before].get(key)) if before else None
        big = (
            join(el("span", show(old.mean), class_="old"), el("span", raw("&rarr;"), class_="arrow", aria_label="to") if old else None)
            if old
            else None
        )
        rows = [(_SHORT[name], value) for name, value in ((before, old), (after, new)) if name and value]
        small = [el("span", name, " ", bracketed(value, show)) for name, value in rows]
        shown.append(
            el(
                "div",
                el("h3", label),
                el("p", big, el("span", show(new.mean), class_="new"), class_="big"),
                el("p", small, class_="small"),
                class_="tile",
            )
        )
    return el("div", shown, class_="tiles") if shown else None


def hop_section(run: Contents) -> Html:
    """Success by stage, overall and by hops, and the paired gain."""
    stages = run.stages
    if not stages:
        return section("success", "Success", None, missing("No stage has been evaluated yet."))
    unseen = {str(hops) for hops in (run.recipe.get("eval") or {}).get("unseen_hops") or ()}
    by_hops = {name: stage.get("success_by_hops") or {} for name, stage in stages.items()}
    hops = sorted({str(key) for values in by_hops.values() for key in values}, key=lambda key: (len(key), key))
    total, apart = _coverage(run, unseen)
    panels = [_success_panel(total, None, {name: interval(stage.get("success")) for name, stage in stages.items()}, wide=True)]
    for key in hops:
        note = "never trained on" if key in unseen else None
        panels.append(_success_panel(_hop_name(key), note, {name: interval(values.get(key)) for name, values in by_hops.items()}))
    groups = [total, *map(_hop_name, hops)]
    table = []
    for name, stage in stages.items():
        values = [interval(stage.get("success")), *(interval(by_hops[name].get(key)) for key in hops)]
        table.append([_SHORT[name], *(bracketed(value, percent, n=True) for value in values)])
    lead = (
        "Share of held-out questions answered exactly. Dots are means, lines 95 % intervals. "
        f"One hop is one page that must be looked up before the next.{apart}"
    )
    body = el("div", panels, class_="panels")
    return section(
        "success", "Success", lead, body, _gain(run, total, hops, unseen), numbers("Success as a table", ["Stage", *groups], table)
    )


def _coverage(run: Contents, unseen: set[str]) -> tuple[str, str]:
    """Whether a stage's overall success leaves out the hops that no stage trained on, judged by its n; and a sentence that says so."""
    for stage in run.stages.values():
        counts = {str(key): finite((value or {}).get("n")) or 0 for key, value in (stage.get("success_by_hops") or {}).items()}
        total = interval(stage.get("success"))
        if total is not None and unseen & counts.keys() and total.n == sum(n for key, n in counts.items() if key not in unseen):
            names = " and ".join(_hop_name(key) for key in sorted(unseen & counts.keys()))
            return "Trained hops", f" Questions of {names} were never trained on: they stand apart, and no overall mean includes them."
    return "All questions", ""


def _hop_name(key: str) -> str:
    return f"{key} hop{'' if key == '1' else 's'}"


def _success_panel(title: str, note: str | None, values: Mapping[str, Interval | None], *, wide: bool = False) -> Html:
    known = [value for value in values.values() if value is not None]
    sizes = {value.n for value in known if value.n is not None}
    count = join(raw("n&nbsp;=&nbsp;"), max(sizes)) if sizes else None
    heading = el("h3", title, el("em", " ", note) if note else None, el("span", count, class_="unit") if count else None)
    rows = [Row(_SHORT[name], name, value) for name, value in values.items()]
    plot = interval_plot(rows, show=percent, ticks=_SHARES, tick_text=lambda t: f"{100 * t:.0f}") if known else missing("not measured")
    return el("div", heading, plot, class_="panel all" if wide else "panel")


def _gain(run: Contents, label: str, hops: list[str], unseen: set[str]) -> Html:
    total = interval(run.summary.get("gain"))
    if total is None:
        return missing("There is no paired gain: it needs a stage before RL and an RL stage.")
    by_hops = run.summary.get("gain_by_hops") or {}
    rows = [Row(label, "gain", total)] + [Row(_hop_name(key), "gain", interval(by_hops[key])) for key in hops if key in by_hops]
    ends = [end for row in rows if row.value for end in (row.value.low, row.value.high, row.value.mean) if end is not None]
    ticks = nice_ticks(min(0.0, *ends), max(0.0, *ends), 5)
    plot = interval_plot(rows, show=points, ticks=ticks, tick_text=lambda t: points(t, 0), zero=True)
    pairs = join(", ", total.n, " pairs") if total.n is not None else None
    heading = el("h3", "Gain of RL over SFT on the same questions", el("span", "percentage points", pairs, class_="unit"))
    marks = [key for key in hops if key in unseen and key in by_hops]
    note = f"{', '.join(map(_hop_name, marks))}: never trained on. " if marks else ""
    verdict = "An interval that crosses 0 is no evidence of a change."
    return el("div", heading, plot, el("p", note + verdict, class_="note"), class_="panel wide")


def cost_section(run: Contents) -> Html:
    """Calls, evidence, format and how trajectories ended, by stage."""
    stages = run.stages
    panels, table = [], []
    for key, title, unit, show in _MEASURES:
        values = {name: interval(stage.get(key)) for name, stage in stages.items()}
        known = [value for value in values.values() if value is not None]
        if not known:
            continue
        high = max(value.high if value.high is not None else value.mean for value in known)
        ticks = [float(share) for share in _SHARES] if show is percent else nice_ticks(0.0, max(high, 0.01), 4)
        text = (lambda t: f"{100 * t:.0f}") if show is percent else (lambda t: f"{t:g}")
        plot = interval_plot([Row(_SHORT[name], name, value) for name, value in values.items()], show=show, ticks=ticks, tick_text=text)
        panels.append(el("div", el("h3", title), plot, el("p", unit, class_="note"), class_="panel"))
        table.append([title, *(bracketed(values[name], show, n=True) for name in stages)])
    panels += _objectives(stages)
    lead = "What an answer costs, and how attempts end. Fewer calls are good only if success does not fall."
    if not panels and not run.evaluations:
        return section(
            "cost", "Cost and conduct", lead, missing("The run measured no calls, evidence or format errors, and kept no trajectories.")
        )
    table_of_all = numbers("Cost as a table", ["Measure", *(_SHORT[name] for name in stages)], table) if table else None
    return section("cost", "Cost and conduct", lead, el("div", panels, _statuses(run), class_="panels"), table_of_all)


def _objectives(stages: Mapping[str, dict[str, Any]]) -> list[Html]:
    """A panel for each reward of a run that has several: its mean on the held-out questions, before its weight."""
    found = {name: stage.get("objectives") or {} for name, stage in stages.items()}
    panels = []
    for key in sorted({key for values in found.values() for key in values}):
        rows = [Row(_SHORT[name], name, value) for name, values in found.items() if (value := interval(values.get(key)))]
        ends = [end for row in rows if row.value for end in (row.value.low, row.value.high, row.value.mean) if end is not None]
        ticks = nice_ticks(min(0.0, *ends), max(0.01, *ends), 4)
        plot = interval_plot(rows, show=number, ticks=ticks, tick_text=lambda t: f"{t:g}", zero=ticks[0] < 0)
        note = el("p", "mean on all held-out questions, greedy, before its weight", class_="note")
        panels.append(el("div", el("h3", f"Reward: {key}"), plot, note, class_="panel"))
    return panels


def _statuses(run: Contents) -> Html | None:
    """How the kept trajectories ended: one stacked bar per stage, numbers beside it."""
    if not run.evaluations:
        return None
    order = [Status.COMPLETED, Status.TRUNCATED, Status.FAILED, Status.BROKEN, Status.RUNNING]
    rows = []
    for name, attempts in run.evaluations.items():
        counts = Counter(attempt.trajectory.status for attempt in attempts)
        parts = [(status.value, counts[status]) for status in order if counts[status]]
        bar = [el("span", class_=f"seg {status}", style=f"flex-grow:{count}") for status, count in parts]
        words = ", ".join(f"{count} {status}" for status, count in parts)
        label = el("span", _SHORT[name], class_=f"row-label {name}")
        rows.append(join(label, el("span", bar, class_="stack", aria_hidden="true"), el("span", words, class_="row-words")))
    note = "Broken means that infrastructure failed; such trajectories are never counted as wrong."
    return el("div", el("h3", "How attempts end"), el("div", rows, class_="stacks"), el("p", note, class_="note"), class_="panel")


def curve_section(run: Contents) -> Html:
    """Learning curves of every stage."""
    curves = learning_curves(run.events)
    lead = (
        "Faint: every logged step. Strong: exponential moving average (half-life: one sixtieth of the steps); its ends stand at the "
        "top right. Hover or focus a chart and use the arrow keys to read values."
    )
    if not curves:
        return section("curves", "Learning curves", None, missing("The run logged no steps."))
    absent = [stage_name(stage).removeprefix("after ") for stage in STAGES if not any(curve.kind == stage for curve in curves)]
    note = el("p", f"Not logged in this run: {', '.join(absent)}.", class_="note") if absent else None
    return section("curves", "Learning curves", lead, el("div", map(curve_chart, curves), class_="curves"), note)


def example_section(run: Contents, decode: Callable[[int], str]) -> Html:
    """The same tasks before and after, side by side."""
    title, names = "Examples", list(run.evaluations)
    if not names:
        return section("examples", title, None, missing("The run kept no evaluation trajectories, so there is nothing to show here."))
    if len(names) == 1:
        only = run.evaluations[names[0]]
        picked = [attempt for attempt in only if attempt.solved][:3] + [attempt for attempt in only if not attempt.solved][:3]
        cards = [_case(_question(a.task, None), attempt_card(a, names[0], decode), number < _OPEN) for number, a in enumerate(picked)]
        lead = f"Only one stage kept trajectories ({stage_name(names[0])}): the first three right and the first three wrong attempts."
        return section("examples", title, lead, *cards)
    before, after = names[-2:]
    pairs = pair_up(run.evaluations[before], run.evaluations[after])
    if not pairs:
        return section("examples", title, None, missing("The two evaluations have no task in common."))
    cards = [_pair(pair, before, after, decode, number < _OPEN) for number, pair in enumerate(choose(pairs))]
    lead = (
        f"The same held-out questions, {stage_name(before)} and {stage_name(after)}, first sample of each. "
        "Chosen by a fixed rule; the counts say how typical they are."
    )
    return section("examples", title, lead, _flips(pairs), *cards)


def _flips(pairs: list[Pair]) -> Html:
    counts = Counter(pair.change for pair in pairs)
    cells = []
    for change in CHANGES:
        old, new, word = _CHANGE_WORDS[change]
        share = percent(counts[change] / len(pairs))
        cells.append(
            el(
                "li",
                el("b", counts[change]),
                el("span", old, raw(" &rarr; "), new),
                el("small", word, ", ", share),
                class_=f"flip {change}",
            )
        )
    return el("ul", cells, class_="flips", aria_label=f"How the verdict changed on {len(pairs)} questions")


def _question(task: Task, change: Html | None) -> Html:
    details = el(
        "p",
        change,
        el("span", _hop_name(str(task.hops)), class_="chip"),
        el("span", "gold answer ", el("b", task.answers[0]), class_="gold"),
        class_="meta",
    )
    return el("summary", el("h3", task.question), details, class_="asked", data_stop=True)


def _case(asked: Html, body: Html, unfolded: bool) -> Html:
    return el("details", asked, body, class_="pair", open=unfolded)


def _pair(pair: Pair, before: str, after: str, decode: Callable[[int], str], unfolded: bool) -> Html:
    old, new, _ = _CHANGE_WORDS[pair.change]
    words = join(old, raw(" &rarr; "), new)
    if pair.change == "kept" and pair.saved > 0:
        words = join("right twice, ", pair.saved, f" call{'' if pair.saved == 1 else 's'} saved")
    asked = _question(pair.task, el("span", words, class_=f"chip {pair.change}"))
    sides = el("div", attempt_card(pair.before, before, decode), attempt_card(pair.after, after, decode), class_="sides")
    return _case(asked, sides, unfolded)


def token_section(run: Contents, decode: Callable[[int], str]) -> Html:
    """The last training groups, token by token; drawn by the page's script from one block of data."""
    title = "Tokens"
    if not run.training:
        return section("tokens", title, None, missing("The run kept no training groups (rl-last.jsonl), so there is no token view."))
    data = token_data(run.training, decode)
    lead = (
        "Groups of the last RL step, most varied rewards first. Only sampled tokens carry loss; what was forced or observed is grey "
        "and underlined with dots."
    )
    left = (
        f"{data.left_out} of {len(run.training)} trajectories are left out to keep this file small; trajectories/rl-last.jsonl has all."
        if data.left_out
        else None
    )
    block = el("script", script_json(data.content), type="application/json", id="token-data")
    empty = el("noscript", missing("The token view needs JavaScript. The numbers are in trajectories/rl-last.jsonl."))
    return section("tokens", title, lead, el("div", id="token-view"), el("p", left, class_="note") if left else None, empty, block)


def recipe_section(run: Contents) -> Html:
    """How to repeat the run, folded."""
    command = run.manifest.get("command")
    if isinstance(command, list):
        command = " ".join(map(str, command))
    how = (
        el("pre", el("code", command), tabindex=0)
        if command
        else missing("The command was not recorded; the recipe and the seed below define the run.")
    )
    rows = [
        [key, value]
        for source in (run.summary.get("world"), run.summary.get("machine"), run.manifest)
        for key, value in _flat(source or {})
    ]
    spent = []
    for name, stage in run.stages.items():
        seconds, tokens = finite(stage.get("seconds")), finite(stage.get("trained_tokens"))
        spent.append([_SHORT[name], DASH if seconds is None else duration(seconds), DASH if tokens is None else thousands(tokens)])
    parts = [
        el("details", el("summary", "Command"), how, class_="numbers"),
        el(
            "details",
            el("summary", "Resolved recipe"),
            el("pre", el("code", yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True)), tabindex=0),
            class_="numbers",
        ),
        numbers("Time and training tokens by stage", ["Stage", "Time", "Tokens"], spent) if spent else None,
        numbers("World, machine and versions", ["Fact", "Value"], rows) if rows else None,
    ]
    return section("recipe", "Repeat this run", "Same recipe, same seed, same machine: the same tasks, trajectories and weights.", *parts)


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            rows += _flat(entry, f"{prefix}{key}.")
        elif entry is not None and key != "command":
            rows.append((f"{prefix}{key}", str(entry)))
    return rows
