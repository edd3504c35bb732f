"""`spadework curate`: tasks through gates; what passes all of them is kept."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spadework.cli.endpoint import EndpointUrl, ModelName, Statements, endpoint_values
from spadework.cli.frame import AsJson, OneCorpus, OneWorld, Overrides, Pages, Resume, print_result

if TYPE_CHECKING:
    from spadework.synthesis.gates.gate import Gate, Ground

__all__ = ["curate"]

_TRANSPORT = {"url", "key_env", "cache", "concurrency", "deadline", "retries", "backoff"}
"""Of an endpoint: what may be another one after --resume, because it does not decide what the model says."""


def curate(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Tasks as .jsonl or .parquet.", show_default=False)] = None,
    settings: Overrides = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The tasks that are kept.", show_default=False)] = None,
    gate: Annotated[list[str] | None, typer.Option("--gate", metavar="NAME", help="Repeat; asked in this order.")] = None,
    dropped: Annotated[
        Path | None, typer.Option("--dropped", metavar="FILE", help="Write the others here, with the reasons.", show_default=False)
    ] = None,
    corpus: OneCorpus = None,
    world: OneWorld = None,
    pages: Pages = 1_500,
    attempts: Annotated[
        Path | None, typer.Option("--attempts", metavar="FILE", help="Trajectories of a policy at the tasks.", show_default=False)
    ] = None,
    resume: Resume = False,
    statements: Statements = None,
    endpoint: EndpointUrl = None,
    model: ModelName = None,
    listed: Annotated[bool, typer.Option("--list", help="Say which gates there are, and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep the tasks that pass all gates. Every verdict is written into its task.

    Settings of gates are A.B=C, for example near-duplicates.threshold=0.9. The model of --endpoint and --model is that of all gates that
    ask one; `endpoint.deadline=30` is a setting of it. What is decided stands in a journal beside --out until all is.

    Example: spadework curate runs/tasks.jsonl --world 1 --gate uniqueness --gate necessity --out runs/good.jsonl
    """
    from spadework.core.config import apply_overrides
    from spadework.core.errors import InputError
    from spadework.core.events import file_hash
    from spadework.synthesis.curation.resume import curate_into
    from spadework.tasks.dataset import read_tasks

    if listed:
        _list(as_json)
        return
    if file is None or out is None or not gate:
        raise InputError("name a file of tasks, at least one --gate, and --out; --list says which gates there are")
    for target in (out, dropped):
        if target is not None and target.suffix not in (".jsonl", ".parquet"):
            raise InputError(f"{target}: tasks are written to .jsonl or .parquet files")
    options = apply_overrides({}, settings or [])
    asked = endpoint_values(endpoint, model, options.pop("endpoint", None), out.with_name(f"{out.stem}.replies"))
    chosen = _gates(gate, options, asked)
    tasks = read_tasks(file)
    ground, origin = _ground(chosen, corpus, statements, world, pages, attempts)
    settings_of = {one.registered_as: one.model_dump(mode="json", exclude={"endpoint": _TRANSPORT}) for one in chosen}
    facts = {"tasks": file_hash(file), "order": list(settings_of), "gates": settings_of, **origin}
    decisions = curate_into(out, tasks, chosen, ground, dropped=dropped, settings=facts, resume=resume)
    by_fate = {fate: [one for one in decisions if one.fate == fate] for fate in ("kept", "dropped", "undecided")}
    counts = Counter(one.gate for one in by_fate["dropped"])
    result = {"out": str(out), "n": len(tasks), **{fate: len(found) for fate, found in by_fate.items()}, "dropped_by": dict(counts)}
    lines = [f"{name}: {count} dropped" for name, count in counts.items()]
    if by_fate["undecided"]:
        first = by_fate["undecided"][0]
        lines.append(f"{len(by_fate['undecided'])} undecided; the first: {first.task.id}, gate {first.gate}: {first.why}")
    print_result(result, as_json, "\n".join([*lines, f"{len(by_fate['kept'])} of {len(tasks)} tasks -> {out}"]))
    if by_fate["undecided"]:
        raise typer.Exit(1)


def _list(as_json: bool) -> None:
    from spadework.synthesis.gates.gate import gates

    rows = {name: gates.get(name).published() for name in gates.names()}
    print_result(rows, as_json, "\n".join(f"{name:20} {text}" for name, text in rows.items()))


def _gates(names: list[str], options: dict[str, Any], endpoint: dict[str, Any] | None) -> list["Gate"]:
    """The gates; those that ask a model ask the one of the command, unless their own settings say otherwise."""
    from spadework.core.config import merge
    from spadework.core.errors import ConfigError
    from spadework.synthesis.gates.gate import gates

    if other := next((name for name in options if name not in names), None):
        raise ConfigError(f"setting '{other}': the gate is not asked; add --gate {other}, or leave it out")
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise ConfigError(f"--gate {twice} is given twice")
    asking = [name for name in names if "endpoint" in gates.get(name, source="--gate").model_fields]
    if endpoint is not None and not asking:
        raise ConfigError("none of the gates asks a model; leave --endpoint out, or add one: `spadework curate --list`")
    given = {"endpoint": endpoint} if endpoint is not None else {}
    return [gates.build(name, merge(given if name in asking else {}, options.get(name) or {}), source="--gate") for name in names]


def _ground(
    gates: list["Gate"], corpus: Path | None, statements: Path | None, world: int | None, pages: int, attempts: Path | None
) -> tuple["Ground", dict[str, Any]]:
    """Only what the gates need is built; with what it is known by."""
    from spadework.core.errors import InputError
    from spadework.core.events import file_hash
    from spadework.corpus.store import MemoryCorpus, open_corpus
    from spadework.corpus.worlds.generate import build_world
    from spadework.corpus.worlds.world import WorldConfig
    from spadework.synthesis.gates.gate import Ground
    from spadework.synthesis.source import graph_of
    from spadework.synthesis.statements import WorldGraph
    from spadework.trajectories.store import read_records
    from spadework.trajectories.tree import Trajectory

    needed = {need for gate in gates for need in gate.needs}
    tried: dict[str, list[Trajectory]] = {}
    for record in read_records(attempts) if attempts is not None else ():
        tried.setdefault(record.trajectory.task_id, []).append(record.trajectory)
    known: dict[str, Any] = {"attempts": file_hash(attempts) if attempts is not None else None, "origin": None}
    if corpus is not None and world is not None:
        raise InputError("name one origin of the tasks: --corpus DIR or --world SEED")
    if statements is not None and corpus is None:
        raise InputError("--statements FILE goes with --corpus DIR: it is what a model has read off its pages")
    if world is not None:
        made = build_world(WorldConfig.parse({"seed": world, "pages": pages}, source="--world"))
        ground = Ground(WorldGraph(made), made, MemoryCorpus(made.documents()) if "corpus" in needed else None, tried)
        return ground, known | {"origin": made.content_hash}
    if corpus is not None:
        opened = open_corpus(corpus)
        graph = graph_of(opened, statements) if "graph" in needed else None
        read = file_hash(statements) if statements is not None else None
        return Ground(graph, opened, opened, tried), known | {"origin": opened.manifest.content_hash, "statements": read}
    return Ground(attempts=tried), known
