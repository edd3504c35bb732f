"""Several results on one page: success against what it costs, with the frontier of those that no other one beats.

A result is a run, with its last stage, or an arm of a comparison, as the mean of its seeds. Every chart has its own frontier over its two
figures; the table has that of all figures at once. Means are compared as they stand, and the intervals show how firm that is. Money is
shown if every result has some in the ledgers of its trajectories; nothing is taken for 0.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spadework.core.errors import InputError
from spadework.core.events import read_json, write_atomic
from spadework.core.run import Run
from spadework.evals.pareto import dominated_by
from spadework.evals.statistics import mean_interval
from spadework.trajectories.store import read_records
from spadework.viewer.comparison import is_comparison
from spadework.viewer.contents import STAGES
from spadework.viewer.figures import Interval, bracketed, interval, number, percent
from spadework.viewer.markup import Html, el, join
from spadework.viewer.page import page
from spadework.viewer.plots import Mark, scatter_chart
from spadework.viewer.sections import missing, numbers, section

__all__ = ["Result", "pareto", "read_results", "write_pareto"]


@dataclass(frozen=True, slots=True)
class _Axis:
    key: str
    title: str
    name: str
    larger: bool
    show: Any


_AXES = (
    _Axis("calls", "Tool calls", "tool calls per question", False, number),
    _Axis("tokens", "Sampled tokens", "sampled tokens per question", False, number),
    _Axis("money", "Money", "money per question, in the ledger's currency", False, number),
    _Axis("evidence_recall", "Evidence", "share of the gold pages that were shown", True, percent),
)


@dataclass(frozen=True, slots=True)
class Result:
    """A run or an arm: its figures by name, and what it was judged on."""

    name: str
    figures: dict[str, Interval]
    questions: str
    """The same text for results that were judged on the same questions."""


def read_results(folders: Sequence[Path]) -> list[Result]:
    """Read runs and comparisons.

    Raises:
        InputError: a folder is neither, or has no result yet.
    """
    results = [result for folder in folders for result in (_arms(folder) if is_comparison(folder) else [_run(folder)])]
    names = [result.name for result in results]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"two results are called '{twice}'; give each folder once")
    return results


def pareto(results: Sequence[Result]) -> dict[str, Any]:
    """The results as plain values: figures, and for every result which one beats it, by chart and over all figures.

    Raises:
        InputError: fewer than two results.
    """
    if len(results) < 2:
        raise InputError("a Pareto page needs at least two results")
    axes = _axes(results)
    beaten: dict[str, list[int | None]] = {axis.key: _beaten(results, [axis]) for axis in axes} | {"all": _beaten(results, axes)}
    return {
        "same_questions": len({result.questions for result in results}) == 1,
        "results": [
            {
                "name": result.name,
                "figures": {key: {"mean": v.mean, "low": v.low, "high": v.high, "n": v.n} for key, v in result.figures.items()},
                "beaten_by": {key: None if by[place] is None else results[by[place] or 0].name for key, by in beaten.items()},
            }
            for place, result in enumerate(results)
        ],
    }


def write_pareto(folders: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write the page, and return what it says as plain values.

    Raises:
        InputError: as `read_results` and `pareto`, or the disk is full.
    """
    results = read_results(folders)
    found = pareto(results)
    charts = [_chart(axis, results, found) for axis in _axes(results)]
    absent = [axis.title.lower() for axis in _AXES if axis not in _axes(results)]
    gap = missing(f"Not shown, because not every result has it: {', '.join(absent)}.") if absent else None
    lead = (
        "Up is better. Dots are means, lines 95 % intervals; results on the frontier are joined, results that another one beats in both "
        "figures are grey. Point at a dot for its numbers."
    )
    parts = [
        ("frontiers", "Frontiers", section("frontiers", "Frontiers", lead, el("div", charts, class_="plots"), gap)),
        ("table", "Table", _table(results, found)),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, page("Success against its cost: a Spadework page", _hero(found), parts))
    return found


def _run(folder: Path) -> Result:
    run = Run.open(folder)
    stages = (run.summary() or {}).get("stages") or {}
    stage = next((stage for stage in reversed(STAGES) if stage in stages), None)
    if stage is None:
        raise InputError(f"{folder}: the run has no result yet; finish it with --resume")
    figures = {key: interval(stages[stage].get(key)) for key in ("success", "calls", "tokens", "evidence_recall")}
    figures["money"] = _money(folder / "trajectories" / f"eval-{stage}.jsonl")
    return Result(folder.resolve().name, {key: value for key, value in figures.items() if value}, _questions(run))


def _arms(folder: Path) -> list[Result]:
    if not (folder / "summary.json").is_file():
        raise InputError(f"{folder}: the comparison is not finished; go on with it with --resume")
    summary = read_json(folder / "summary.json")
    results = []
    for name, arm in summary["arms"].items():
        figures = {key: value for key in arm["figures"] if (value := interval(arm["figures"][key]))}
        questions = _questions(Run.open(folder / arm["runs"][0]["folder"]))
        results.append(Result(f"{folder.resolve().name}/{name}", figures, questions))
    return results


def _questions(run: Run) -> str:
    hashes = {key: value for key, value in (run.manifest.get("hashes") or {}).items() if key != "train_world"}
    return json.dumps([hashes, run.recipe.get("eval"), run.recipe.get("seed")], sort_keys=True)


def _money(path: Path) -> Interval | None:
    """Mean over the kept attempts; None if one of them has no money in its ledger."""
    spent = [record.trajectory.ledger.get("money") for record in read_records(path)] if path.is_file() else []
    known = [amount for amount in spent if amount is not None]
    if not known or len(known) < len(spent):
        return None
    return interval(mean_interval(known, amounts=True).model_dump(mode="json"))


def _axes(results: Sequence[Result]) -> list[_Axis]:
    return [axis for axis in _AXES if all(axis.key in result.figures for result in results)]


def _beaten(results: Sequence[Result], axes: Sequence[_Axis]) -> list[int | None]:
    points = [[result.figures[key].mean for key in ("success", *(axis.key for axis in axes))] for result in results]
    return dominated_by(points, [True, *(axis.larger for axis in axes)])


def _chart(axis: _Axis, results: Sequence[Result], found: dict[str, Any]) -> Html:
    marks = [
        Mark(result.name, result.figures[axis.key], result.figures["success"], entry["beaten_by"][axis.key] is not None)
        for result, entry in zip(results, found["results"], strict=True)
    ]
    unit = "success on held-out questions, " + ("right and up is better" if axis.larger else "left and up is better")

    def show(value: Interval) -> str:
        span = "" if value.low is None or value.high is None else f" [{value.low:.3g}, {value.high:.3g}]"
        return f"{value.mean:.3g}{span} {axis.name}"

    return scatter_chart(axis.title, axis.name, unit, marks, larger_x=axis.larger, show=show)


def _hero(found: dict[str, Any]) -> Html:
    kept = [entry["name"] for entry in found["results"] if entry["beaten_by"]["all"] is None]
    count = len(found["results"])
    first = f"{len(kept)} of {count} results are on the frontier of success and cost: {', '.join(kept)}."
    if len(kept) == count:
        first = f"None of the {count} results beats another in everything: each is worth having for something."
    warning = None
    if not found["same_questions"]:
        warning = el(
            "p", "These results were not all judged on the same questions, so differences may be those of the questions.", class_="alert"
        )
    return join(el("h1", first), warning)


def _table(results: Sequence[Result], found: dict[str, Any]) -> Html:
    axes = _axes(results)
    rows: list[list[Html | str]] = []
    for result, entry in zip(results, found["results"], strict=True):
        by = entry["beaten_by"]["all"]
        where = ", ".join(axis.title.lower() for axis in axes if entry["beaten_by"][axis.key] is None)
        rows.append(
            [
                result.name,
                bracketed(result.figures["success"], percent, n=True),
                *(bracketed(result.figures[axis.key], axis.show) for axis in axes),
                where or "none",
                el("span", f"beaten by {by}", class_="beaten") if by else "on the frontier",
            ]
        )
    header = ["Result", "Success", *(axis.title for axis in axes), "On the frontier of", "All figures"]
    lead = "n is the number of questions of a run, or of seeds of an arm. The last column takes success and all costs together."
    return section("table", "Table", lead, numbers("All results", header, rows, unfolded=True))
