"""Recipes against each other: one cold start, then every arm with every seed from it, on equal budgets and the same held-out questions.

    OUT/cold-start/        reading and SFT, once (or those of a run that is there already)
    OUT/ARM/seed-K/        an ordinary run whose model is the cold start's checkpoint and whose RL draws from seed K
    OUT/comparison.json    what is compared, written before the first of them
    OUT/summary.json       what came out, written last

Invariant: arms differ in RL (and in limits) alone. Data, model, tools, cold start and evaluation must agree, or nothing starts. Seed K
means the same task draws and sampling streams for every arm, so runs are paired.
"""

import math
import multiprocessing
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spadework.core.errors import ConfigError, InputError
from spadework.core.events import disk_errors, read_json, write_json
from spadework.core.progress import Progress
from spadework.core.run import Run, first_difference
from spadework.evals.arms import arm_effects, arm_figures
from spadework.evals.metrics import Question, ReportCard
from spadework.pipeline.chain import run_pipeline
from spadework.pipeline.recipe import Recipe

__all__ = ["Job", "plan", "run_comparison", "summarise"]

MAY_DIFFER = ("name", "description", "source", "notes", "scale", "imports", "rl", "limits", "threads")


@dataclass(frozen=True, slots=True)
class Job:
    """One arm with one seed."""

    arm: str
    seed: int
    recipe: Recipe
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether the run is there and has its result.

        Raises:
            ConfigError: another recipe's run is there.
        """
        Run.check(self.folder, self.recipe.model_dump(mode="json"), resume=True)
        return (self.folder / "summary.json").is_file()


def run_comparison(
    recipes: Sequence[Recipe], out: Path, *, seeds: int = 5, cold_start: Path | None = None, jobs: int = 1, resume: bool = False
) -> dict[str, Any]:
    """Carry out a comparison.

    Args:
        recipes: the arms; the first is the baseline.
        out: the folder of the comparison.
        seeds: runs per arm, at least two; seeds are 0, 1, ...
        cold_start: a run with the recipes' reading and SFT; it is trained in `out` if None.
        jobs: runs at a time, each a process with one thread.
        resume: go on with the comparison that is there. More seeds or arms than before may be asked for.

    Returns:
        The summary, which is also in `summary.json`.

    Raises:
        ConfigError: the arms do not fit together or to the cold start; the message names the first difference.
        InputError: the folder is in use for something else, or a run failed.
    """
    _check_arms(recipes, seeds)
    _check_folder(out, resume)
    start = _cold_start(recipes[0], out, cold_start, resume)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    todo = plan(recipes, out, seeds, start)
    facts = {
        "baseline": recipes[0].name,
        "arms": {recipe.name: recipe.model_dump(mode="json") for recipe in recipes},
        "seeds": list(range(seeds)),
        "cold_start": None if start is None else str(start),
    }
    write_json(out / "comparison.json", facts)
    _carry_out([job for job in todo if not job.finished], jobs)
    summary = summarise(recipes, todo, start)
    write_json(out / "summary.json", summary)
    return summary


def plan(recipes: Sequence[Recipe], out: Path, seeds: int, start: Path | None) -> list[Job]:
    """All runs, seed by seed, so that a comparison that is stopped early has whole pairs."""
    return [
        Job(recipe.name, seed, _from_start(recipe, seed, start), out / recipe.name / f"seed-{seed}")
        for seed in range(seeds)
        for recipe in recipes
    ]


def _from_start(recipe: Recipe, seed: int, start: Path | None) -> Recipe:
    """The recipe's RL from the cold start's checkpoint; its own model where there is no cold start."""
    values = recipe.model_dump(mode="json")
    # One thread whatever --jobs says: the number of threads changes the last bits of a sum.
    values |= {"threads": 1, "reading": None, "sft": None}
    values["rl"]["seed"] = seed
    if start is not None:
        values["model"] |= {"preset": None, "path": str(start), "induction": False}
    return Recipe.parse(values, source=recipe.name)


def _check_arms(recipes: Sequence[Recipe], seeds: int) -> None:
    if len(recipes) < 2 or seeds < 2:
        raise ConfigError("a comparison needs at least two recipes and two seeds")
    names = [recipe.name for recipe in recipes]
    first = recipes[0]
    for recipe in recipes:
        if names.count(recipe.name) > 1:
            raise ConfigError(f"two arms are called '{recipe.name}'; give one of the recipes another name")
        if not re.fullmatch(r"[\w.+-]+", recipe.name) or recipe.name in ("cold-start", ".", ".."):
            raise ConfigError(f"recipe '{recipe.name}': an arm's name is a folder's; use letters, digits, '-', '_' and '.'")
        if recipe.rl is None or not recipe.rl.steps:
            raise ConfigError(f"recipe '{recipe.name}' has no RL stage to compare")
        if recipe.model.lora_rank and (recipe.reading or recipe.sft):
            raise ConfigError(f"recipe '{recipe.name}': adapters cannot start from adapters; leave out the cold start or model.lora_rank")
        if key := first_difference(_shared(first), _shared(recipe)):
            raise ConfigError(f"'{first.name}' and '{recipe.name}' differ in '{key}'; arms may differ in rl and limits only")
        assert first.rl is not None
        if first.rl.budget != recipe.rl.budget:
            raise ConfigError(f"'{first.name}' and '{recipe.name}' have different budgets; give one for all with --budget")


def _shared(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude=set(MAY_DIFFER))


def _check_folder(out: Path, resume: bool) -> None:
    if (out / "comparison.json").is_file():
        if not resume:
            raise InputError(f"{out} already holds a comparison; add --resume to go on with it, or name another --out")
    elif out.is_file() or (out.is_dir() and {entry.name for entry in out.iterdir()} - {"cold-start"}):
        raise InputError(f"{out} is not empty and not a comparison; name another --out")


def _cold_start(recipe: Recipe, out: Path, given: Path | None, resume: bool) -> Path | None:
    """The checkpoint that all arms start from; None if the recipes have no cold start."""
    stage = next((name for name in ("sft", "reading") if getattr(recipe, name) and getattr(recipe, name).steps), None)
    if stage is None:
        if given is not None:
            raise ConfigError("--cold-start: the recipes have neither reading nor sft, so they start from their model")
        return None
    folder = given or out / "cold-start"
    if given is None:
        values = recipe.model_dump(mode="json") | {"rl": None, "name": "cold-start", "description": "", "source": None, "notes": []}
        wanted = Recipe.parse(values, source="cold-start")
        Run.check(folder, wanted.model_dump(mode="json"), resume)
        if not (folder / "summary.json").is_file():
            run_pipeline(wanted, folder, resume)
    there = Recipe.parse(Run.open(folder).recipe, source=str(folder / "recipe.yaml"))
    if key := first_difference(_shared(there), _shared(recipe)):
        raise ConfigError(f"{folder} was made with another '{key}' than '{recipe.name}'; take another --cold-start, or leave it out")
    checkpoints = Run.open(folder).checkpoints(stage)
    # The report card is a stage's last file: before it the checkpoint need not be the stage's last.
    if not checkpoints or not (folder / "evals" / f"{stage}.json").is_file():
        raise InputError(f"{folder}: its stage '{stage}' is not finished; go on with it (--resume), or take another --cold-start")
    return checkpoints[-1][1].resolve()


def _carry_out(jobs: Sequence[Job], processes: int) -> None:
    if processes == 1:
        for number, job in enumerate(jobs, start=1):
            print(f"{job.arm}, seed {job.seed}: run {number} of {len(jobs)} that are left", file=sys.stderr, flush=True)
            run_pipeline(job.recipe, job.folder, resume=True)
        return
    # Spawned, because a fork of a process with threads may hang.
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        with Progress("runs", len(jobs), unit="runs") as progress:
            waiting = {pool.submit(_run_alone, job.recipe, job.folder): job for job in jobs}
            for done in as_completed(waiting):
                done.result()
                progress.advance(note=f"{waiting[done].arm}, seed {waiting[done].seed}")
    finally:
        pool.shutdown(cancel_futures=True)


def _run_alone(recipe: Recipe, folder: Path) -> None:
    """One run in a process of its own; its progress goes to a file beside it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.log").open("a", encoding="utf-8") as log, redirect_stderr(log):
        run_pipeline(recipe, folder, resume=True)


def summarise(recipes: Sequence[Recipe], jobs: Sequence[Job], start: Path | None) -> dict[str, Any]:
    """What came out: figures by arm, effects against the baseline, and what every run spent."""
    unseen = set(recipes[0].eval.unseen_hops)
    results: dict[str, dict[int, list[Question]]] = {recipe.name: {} for recipe in recipes}
    runs: dict[str, list[dict[str, Any]]] = {recipe.name: [] for recipe in recipes}
    for job in jobs:
        card = ReportCard.model_validate(read_json(job.folder / "evals" / "rl.json")["greedy"])
        results[job.arm][job.seed] = [question for question in card.questions if question.hops not in unseen]
        runs[job.arm].append(_spent(job, results[job.arm][job.seed]))
    budget = recipes[0].rl.budget if recipes[0].rl else None
    effects = arm_effects(results, recipes[0].name)
    return {
        "kind": "comparison",
        "baseline": recipes[0].name,
        "seeds": sorted({job.seed for job in jobs}),
        "questions": len(next(iter(results[recipes[0].name].values()))),
        "budget": budget.model_dump(exclude_none=True) if budget else None,
        "cold_start": _before(start, unseen),
        "arms": {
            recipe.name: {
                "description": recipe.description,
                "figures": {name: figure and figure.model_dump(mode="json") for name, figure in arm_figures(results[recipe.name]).items()},
                "runs": runs[recipe.name],
            }
            for recipe in recipes
        },
        "effects": {name: effect.model_dump(mode="json") for name, effect in effects.items()},
        "separates": _separates(recipes),
    }


def _spent(job: Job, questions: Sequence[Question]) -> dict[str, Any]:
    """What a run spent on RL, from its events. `budget_share` is the largest share of a limit; under 1 the steps ended first."""
    assert job.recipe.rl is not None
    events = Run.open(job.folder).events("rl")
    spent = {"tokens": events[-1]["spent/tokens"], "calls": events[-1]["spent/calls"]}
    budget = job.recipe.rl.budget
    return {
        "seed": job.seed,
        "folder": f"{job.arm}/{job.folder.name}",
        "success": math.fsum(question.success for question in questions) / len(questions),
        "steps": events[-1]["step"],
        **spent,
        "seconds": math.fsum(event["timing_s/step"] for event in events),
        "budget_share": budget.share(spent) if budget else None,
        "last_step_share": budget.share(spent) - budget.share(_before_last(events)) if budget else None,
    }


def _before_last(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    before = events[-2] if len(events) > 1 else {"spent/tokens": 0.0, "spent/calls": 0.0}
    return {"tokens": before["spent/tokens"], "calls": before["spent/calls"]}


def _before(start: Path | None, unseen: set[int]) -> dict[str, Any] | None:
    """The cold start's success on the same questions."""
    if start is None:
        return None
    stage = start.name.rpartition("-")[0]
    card = ReportCard.model_validate(read_json(start.parents[1] / "evals" / f"{stage}.json")["greedy"])
    kept = [question for question in card.questions if question.hops not in unseen]
    figures = arm_figures({0: kept})
    return {"checkpoint": str(start), **{name: figure.mean if figure else None for name, figure in figures.items()}}


def _separates(recipes: Sequence[Recipe]) -> list[dict[str, Any]]:
    """Every setting in which the arms differ, by dotted key, with its value in each."""
    flat = {recipe.name: dict(_flat(recipe.model_dump(mode="json", include={"rl", "limits"}))) for recipe in recipes}
    keys = sorted({key for values in flat.values() for key in values})
    rows = {key: {name: values.get(key) for name, values in flat.items()} for key in keys}
    return [{"key": key, "values": row} for key, row in rows.items() if len({repr(value) for value in row.values()}) > 1]


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, entry in value.items():
        # An empty mapping is a value: a rule that is there, without options.
        rows += _flat(entry, f"{prefix}{key}.") if isinstance(entry, Mapping) and entry else [(f"{prefix}{key}", entry)]
    return rows
