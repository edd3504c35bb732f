"""`spadework tasks`: questions with verifiable answers, made, shown, checked and converted."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from spadework.cli.frame import AsJson, NewFile, OneCorpus, OneWorld, Pages, command_group, print_result

__all__ = ["app", "convert", "export", "make", "show", "stats", "validate"]

app = command_group("Make, show, check and convert tasks.")

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
def stats(file: TaskFile, as_json: AsJson = False) -> None:
    """Count what a file holds: kinds, hops, levels, answers, pages, and what gates said.

    Example: spadework tasks stats runs/tasks.jsonl
    """
    from spadework.tasks.dataset import read_tasks
    from spadework.tasks.stats import stats as count

    found = count(read_tasks(file))
    lines = [f"{name + ':':<18}{_spelled(value)}" for name, value in found.items() if value != {}]
    print_result(found, as_json, "\n".join(lines))


def _spelled(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1%}"
    return ", ".join(f"{key} {_spelled(one)}" for key, one in value.items()) if isinstance(value, dict) else str(value)


@app.command()
def show(
    file: TaskFile,
    key: Annotated[str | None, typer.Argument(metavar="ID", help="Of the task; the first one if not given.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write a page (.html) instead.", show_default=False)] = None,
    corpus: OneCorpus = None,
    world: OneWorld = None,
    pages: Pages = 1_500,
    as_json: AsJson = False,
) -> None:
    """Show a task with everything its answer rests on; with --out as a page with the graph of the question.

    The texts of its evidence come from the source that `spadework synth` noted beside the file, or from the one that is named here.

    Example: spadework tasks show runs/tasks.jsonl --out runs/task.html
    """
    from spadework.core.errors import InputError
    from spadework.synthesis.batch import source_of
    from spadework.synthesis.source import Source
    from spadework.tasks.dataset import read_tasks
    from spadework.viewer.task import task_lines, write_task

    tasks = {task.id: task for task in read_tasks(file)}
    if key is not None and key not in tasks:
        near = difflib.get_close_matches(key, tasks, n=1)
        raise InputError(f"{file}: no task '{key}'" + (f"; did you mean '{near[0]}'?" if near else f"; it has {len(tasks)} others"))
    task = tasks[key] if key is not None else next(iter(tasks.values()))
    if out is None:
        print_result(task.model_dump(mode="json"), as_json, task_lines(task))
        return
    named = corpus is not None or world is not None
    source = Source.of(corpus, world, pages) if named else source_of(file)
    write_task(task, out, source.documents() if source else None)
    print_result({"out": str(out), "id": task.id}, as_json, str(out))


@app.command()
def validate(file: TaskFile, corpus: OneCorpus = None, world: OneWorld = None, pages: Pages = 1_500, as_json: AsJson = False) -> None:
    """Check that tasks are sound: the gold answer scores 1 and a wrong one less, the evidence exists, the ledger gives the answer.

    Ends with exit code 1 if one is not.

    Example: spadework tasks validate runs/tasks.jsonl --corpus runs/corpus
    """
    from spadework.rewards.matching import em
    from spadework.synthesis.audit import audit
    from spadework.synthesis.batch import source_of
    from spadework.synthesis.source import Source
    from spadework.tasks.dataset import read_tasks
    from spadework.tasks.validate import validate as problems_of

    tasks = read_tasks(file)
    named = corpus is not None or world is not None
    source = (None if named else source_of(file)) or Source.of(corpus, world, pages)
    documents = source.documents()
    problems = {task.id: found for task in tasks if (found := problems_of(task, documents, em) + audit(task, documents))}
    lines = [f"{key}: {problem}" for key, found in problems.items() for problem in found]
    text = "\n".join([*lines, f"{len(tasks) - len(problems)} of {len(tasks)} tasks are sound"])
    print_result({"n": len(tasks), "sound": len(tasks) - len(problems), "problems": problems}, as_json, text)
    if problems:
        raise typer.Exit(1)


@app.command()
def export(
    file: TaskFile,
    out: NewFile,
    to: Annotated[Literal["verl", "trl", "nemo-gym"], typer.Option("--to", help="The trainer: verl (.parquet), trl or nemo-gym (.jsonl).")],
    split: Annotated[Split, typer.Option("--split", help="Stands in verl's rows.")] = "train",
    as_json: AsJson = False,
) -> None:
    """Write tasks for another trainer.

    Example: spadework tasks export runs/tasks.jsonl --to trl --out runs/trl.jsonl
    """
    from spadework.tasks.dataset import read_tasks
    from spadework.tasks.export import export_tasks

    tasks = read_tasks(file)
    export_tasks(tasks, out, to, split=split)
    print_result({"out": str(out), "n": len(tasks), "format": to}, as_json, f"{len(tasks)} tasks -> {out}")


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
