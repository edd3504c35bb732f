"""`spadework tasks`: questions with verifiable answers, made, checked and converted."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from spadework.cli.frame import AsJson, CorpusFolder, NewFile, command_group, print_result

__all__ = ["app", "convert", "make", "validate"]

app = command_group("Make, check and convert tasks.")

Split = Literal["train", "dev", "test"]
TaskFile = Annotated[Path, typer.Argument(metavar="FILE", help="Tasks as .jsonl or .parquet (verl's columns).")]


@app.command()
def make(
    out: NewFile,
    corpus: Annotated[Path | None, typer.Option("--corpus", metavar="DIR", help="Fill-in tasks from a corpus.", show_default=False)] = None,
    world: Annotated[int | None, typer.Option("--world", metavar="SEED", help="Graph tasks from a world.", show_default=False)] = None,
    pages: Annotated[int, typer.Option("--pages", metavar="N", help="Pages of the world.")] = 1_500,
    count: Annotated[int, typer.Option("--n", metavar="N", min=1, help="Tasks per kind and number of hops.")] = 50,
    split: Annotated[Split, typer.Option("--split", help="Pages of a corpus that serve as sources.")] = "train",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which tasks are drawn.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make tasks from a corpus or from a generated world.

    Example: spadework tasks make --corpus runs/corpus --n 100 --out runs/tasks.jsonl
    """
    from spadework.core.errors import InputError
    from spadework.tasks.dataset import write_tasks

    if (corpus is None) == (world is None):
        raise InputError("name one source of tasks: --corpus DIR or --world SEED")
    if corpus is not None:
        from spadework.corpus.store import open_corpus
        from spadework.synthesis.spans import make_spans

        tasks = make_spans(open_corpus(corpus), seed=seed, counts={1: count, 2: count}, split=split)
    else:
        from spadework.corpus.worlds.generate import build_world
        from spadework.corpus.worlds.world import WorldConfig
        from spadework.synthesis.graph import GraphConfig, graph_tasks

        config = GraphConfig(chains={1: count, 2: count, 3: count}, intersections=count, counts=count, comparisons=count)
        tasks = graph_tasks(build_world(WorldConfig.parse({"seed": world, "pages": pages}, source="--world")), config, seed)
    write_tasks(tasks, out, split=split)
    print_result({"out": str(out), "n": len(tasks)}, as_json, f"{len(tasks)} tasks -> {out}")


@app.command()
def validate(file: TaskFile, corpus: CorpusFolder, as_json: AsJson = False) -> None:
    """Check that every task is sound: its gold answer scores 1, its evidence exists, a wrong answer scores less.

    Ends with exit code 1 if one is not.

    Example: spadework tasks validate runs/tasks.jsonl --corpus runs/corpus
    """
    from spadework.corpus.store import open_corpus
    from spadework.rewards.matching import em
    from spadework.tasks.dataset import read_tasks
    from spadework.tasks.validate import validate as problems_of

    tasks, documents = read_tasks(file), open_corpus(corpus)
    problems = {task.id: found for task in tasks if (found := problems_of(task, documents, em))}
    lines = [f"{key}: {problem}" for key, found in problems.items() for problem in found]
    text = "\n".join([*lines, f"{len(tasks) - len(problems)} of {len(tasks)} tasks are sound"])
    print_result({"n": len(tasks), "sound": len(tasks) - len(problems), "problems": problems}, as_json, text)
    if problems:
        raise typer.Exit(1)


@app.command()
def convert(
    file: TaskFile,
    out: NewFile,
    split: Annotated[Split, typer.Option("--split", help="Stands in the rows of a parquet file.")] = "train",
    as_json: AsJson = False,
) -> None:
    """Write tasks in another format; the ending of the new file says which.

    Example: spadework tasks convert runs/tasks.jsonl --out runs/tasks.parquet
    """
    from spadework.tasks.dataset import read_tasks, write_tasks

    tasks = read_tasks(file)
    write_tasks(tasks, out, split=split)
    print_result({"out": str(out), "n": len(tasks)}, as_json, f"{len(tasks)} tasks -> {out}")
