"""`spadework demo`, `train` and `sft`: carry out a recipe's stages in a run folder, and write its page."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from spadework.cli.frame import AsJson, DryRun, Overrides, Resume, Scale, Seed, print_recipe, print_result
from spadework.core.errors import InputError

__all__ = ["demo", "sft", "train"]

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A name from `spadework recipes list`, or a YAML file.")]
RunOut = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The run's folder; needed unless --dry-run.")]
CorpusPath = Annotated[
    Path | None, typer.Option("--corpus", metavar="PATH", help="Learn on these documents instead of a world.", show_default=False)
]


def demo(
    overrides: Overrides = None,
    out: RunOut = Path("runs/demo"),
    seed: Seed = None,
    corpus: CorpusPath = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train a tiny researcher from nothing: a world, tasks, reading, SFT, RL, an evaluation after each, and the page.

    Example: spadework demo --out runs/demo
    """
    _carry_out("demo", _settings(overrides, seed, corpus), out, resume, dry_run, as_json)


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: RunOut = None,
    scale: Scale = "tiny",
    seed: Seed = None,
    corpus: CorpusPath = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Carry out all stages of a recipe.

    Example: spadework train demo --out runs/short rl.steps=20
    """
    _carry_out(recipe, _settings(overrides, seed, corpus), out, resume, dry_run, as_json, scale)


def sft(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: RunOut = None,
    scale: Scale = "tiny",
    seed: Seed = None,
    corpus: CorpusPath = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Carry out the stages of a recipe before RL.

    Example: spadework sft demo --out runs/sft
    """
    _carry_out(recipe, [*_settings(overrides, seed, corpus), "rl=null"], out, resume, dry_run, as_json, scale)


def _settings(overrides: list[str] | None, seed: int | None, corpus: Path | None) -> list[str]:
    """The options as overrides, last, so that they win."""
    settings = list(overrides or [])
    if seed is not None:
        settings.append(f"seed={seed}")
    if corpus is not None:
        # A JSON text is a YAML text, whatever characters the path has.
        settings.append(f"corpus={json.dumps(str(corpus))}")
    return settings


def _carry_out(name: str, settings: list[str], out: Path | None, resume: bool, dry_run: bool, as_json: bool, scale: str = "tiny") -> None:
    from spadework.pipeline.recipe import load_recipe

    recipe = load_recipe(name, settings, scale)
    if dry_run:
        print_recipe(recipe, as_json)
        return
    if recipe.reading is None and recipe.sft is None and recipe.rl is None:
        raise InputError(f"recipe '{recipe.name}' has no stage to carry out here: reading, sft and rl are null")
    if out is None:
        raise InputError("the run needs a folder; name one with --out DIR")
    from spadework.core.run import Run
    from spadework.pipeline.chain import run_pipeline
    from spadework.viewer.report import write_report

    summary = run_pipeline(recipe, out, resume)
    Run.open(out).note(command=shlex.join(["spadework", *sys.argv[1:]]))
    report = write_report(out)
    print_result(summary, as_json, f"{_table(summary)}\n\n{report}")


def _table(summary: dict[str, Any]) -> str:
    """Success after each stage, and what RL adds, with their intervals."""
    rows = [(stage, result["success"]) for stage, result in summary["stages"].items() if result.get("success")]
    lines = [f"{stage:<10}success {_interval(figure)}" for stage, figure in rows]
    if summary.get("gain"):
        lines.append(f"{'gain':<10}RL over SFT {_interval(summary['gain'], sign='+')}")
    lines.append(f"{summary['seconds']:.0f} s, {summary['peak_rss_bytes'] / 2**30:.2f} GiB at most")
    return "\n".join(lines)


def _interval(figure: dict[str, Any], sign: str = "") -> str:
    low, high = (f"{bound:{sign}.3f}" if bound is not None else "?" for bound in (figure["low"], figure["high"]))
    return f"{figure['mean']:{sign}.3f} [{low}, {high}], n={figure['n']}"
