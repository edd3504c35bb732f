"""`spadework compare`: recipes against each other, over paired seeds and on equal budgets."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from spadework.cli.frame import AsJson, Resume, Scale, print_result
from spadework.core.errors import InputError

__all__ = ["compare"]


def compare(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE_A RECIPE_B...", help="Recipes, the baseline first; then settings a.b=c.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of the comparison.")],
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=2, help="Runs per recipe; seed K is the same draws for all.")] = 5,
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", metavar="NAME=N", help="RL of a run ends at tokens=N or calls=N.", show_default=False),
    ] = None,
    scale: Scale = "tiny",
    cold_start: Annotated[
        Path | None, typer.Option("--cold-start", metavar="RUN", help="Start from this run's SFT, not from a new one.", show_default=False)
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Runs at a time, one thread each.")] = 1,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Compare recipes: one cold start, then each with every seed from it; effects over seeds with intervals, costs, and a page.

    Example: spadework compare grpo arpo --seeds 5 --budget tokens=200000 --out runs/grpo-arpo rl.steps=1000
    """
    from spadework.pipeline.comparison import run_comparison
    from spadework.pipeline.recipe import load_recipe
    from spadework.viewer.comparison import effect_line, write_comparison

    names, overrides = [name for name in recipes if "=" not in name], [name for name in recipes if "=" in name]
    if budget:
        overrides.append(f"rl.budget={json.dumps(_limits(budget))}")
    arms = [load_recipe(name, overrides, scale) for name in names]
    summary = run_comparison(arms, out, seeds=seeds, cold_start=cold_start, jobs=jobs, resume=resume)
    page = write_comparison(out)
    lines = [_row(name, arm) for name, arm in summary["arms"].items()]
    lines += [effect_line(summary, name) for name in summary["effects"]]
    print_result(summary, as_json, "\n".join([*lines, "", str(page)]))


def _limits(budget: list[str]) -> dict[str, int]:
    limits = {}
    for text in budget:
        name, equals, amount = text.partition("=")
        if not equals or not amount.replace("_", "").isdigit():
            raise InputError(f"--budget {text}: expected NAME=N, for example tokens=200000")
        limits[name] = int(amount)
    return limits


def _row(name: str, arm: dict[str, Any]) -> str:
    success, calls = arm["figures"]["success"], arm["figures"]["calls_per_solved"]
    interval = f"{success['mean']:.3f} [{success['low']:.3f}, {success['high']:.3f}], n={success['n']} seeds"
    each = f", {calls['mean']:.2f} calls per solved" if calls else ""
    spent = sum(run["tokens"] for run in arm["runs"]) / len(arm["runs"])
    return f"{name:<20}success {interval}{each}, {spent:.0f} sampled tokens a run"
