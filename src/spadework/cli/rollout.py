"""`spadework rollout`: attempts of a trained agent at a file of tasks, for the gates that go by them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spadework.cli.frame import AsJson, NewFile, OneCorpus, OneWorld, Pages, Resume, RunFolder, Stage, StageOption, print_result

if TYPE_CHECKING:
    from spadework.pipeline.attempts import Attempts

__all__ = ["rollout"]


def rollout(
    folder: RunFolder,
    tasks: Annotated[Path, typer.Option("--tasks", metavar="FILE", help="Tasks as .jsonl or .parquet.")],
    out: NewFile,
    samples: Annotated[int, typer.Option("--samples", metavar="N", min=1, help="Attempts at every task.")] = 8,
    stage: StageOption = None,
    corpus: OneCorpus = None,
    world: OneWorld = None,
    pages: Pages = 1_500,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest token.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which attempts are sampled.")] = 0,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Attempt tasks several times with the agent of a run, and write the trajectories.

    The pages come from the source that `spadework synth` noted beside the tasks, or from the one that is named here. `spadework curate`
    reads the file as --attempts.

    Example: spadework rollout runs/demo --tasks runs/tasks.jsonl --samples 8 --out runs/attempts.jsonl
    """
    made = asyncio.run(_attempt(folder, tasks, out, samples, stage, corpus, world, pages, temperature, seed, resume))
    text = (
        f"{made.right} of {made.n - made.broken} attempts are right; of {made.n // samples} tasks {made.never} never and {made.always} "
        f"always solved -> {out}"
    )
    lines = [f"{made.broken} of {made.n} attempts were broken by tools or engine"] if made.broken else []
    print_result({"out": str(out), **made._asdict()}, as_json, "\n".join([*lines, text]))
    if made.broken:
        raise typer.Exit(1)


async def _attempt(
    folder: Path,
    file: Path,
    out: Path,
    samples: int,
    stage: Stage | None,
    corpus: Path | None,
    world: int | None,
    pages: int,
    temperature: float,
    seed: int,
    resume: bool,
) -> "Attempts":
    from spadework.cli.trained import load_trained
    from spadework.core.events import file_hash
    from spadework.core.seeds import derive_seed
    from spadework.engines.engine import SamplingParams
    from spadework.pipeline.attempts import write_attempts
    from spadework.synthesis.batch import source_of
    from spadework.synthesis.source import Source
    from spadework.tasks.dataset import read_tasks

    questions = read_tasks(file)
    named = corpus is not None or world is not None
    source = (None if named else source_of(file)) or Source.of(corpus, world, pages)
    trained = await load_trained(folder, stage=stage, corpus=source.corpus, world=source.world)
    made_with = {
        "run": str(folder.resolve()),
        "checkpoint": trained.checkpoint.name,
        "tasks": file_hash(file),
        "source": source.model_dump(mode="json"),
        "samples": samples,
        "temperature": temperature,
        "seed": seed,
    }
    params = SamplingParams(temperature=temperature, max_tokens=trained.recipe.eval.max_tokens)
    return await write_attempts(
        questions,
        trained.environment,
        trained.engine,
        out,
        samples=samples,
        params=params,
        seed=derive_seed(seed, "attempts"),
        made_with=made_with,
        resume=resume,
    )
