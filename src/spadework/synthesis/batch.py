"""Tasks of one maker written to a file, in one process or several, in one go or in many.

Every draw has a random stream of its own (`makers/maker.py`), so processes take blocks of draws, and the blocks are put together in their
order: the file is the same whatever the number of processes. A task is a line of the file as soon as it is there, so a run that is stopped
or killed keeps what it has and goes on behind its last draw. Beside the file stands a manifest (`tasks.manifest.json`) that names maker,
options, seed and source; a run goes on with the same ones only.

With a model the tasks pass through it as they come (`model.py`): it words them and says which are sound; those that are not are left out
and more are drawn. A task depends on its own draw and the replies to it alone, so with the same replies the file is the same, however
often the run was stopped; keep a cache of replies, and nothing is asked twice.

Processes are spawned and make the graph each for itself: two of them need twice the memory. What is kept in memory of the tasks is eight
bytes of each.
"""

import json
import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from spadework.core.config import Config
from spadework.core.errors import BrokenError, InputError
from spadework.core.events import append_text, disk_errors, read_json, write_json
from spadework.core.interrupts import on_interrupt
from spadework.core.progress import Progress
from spadework.core.run import first_difference
from spadework.synthesis.ledger import locate
from spadework.synthesis.makers.maker import Maker, makers, new_ones, question_key, task_at
from spadework.synthesis.model import Model, fate, judged, reworded
from spadework.synthesis.source import Source
from spadework.synthesis.statements import Graph
from spadework.tasks.task import Task

__all__ = ["Batch", "Written", "manifest_path", "source_of", "write_batch"]

_BLOCK = 32
"""Draws that a process makes at a time."""
_AHEAD = 3
"""Blocks per process that are drawn or waiting to be written."""
_UNSOUND = 100
"""Questions in a row that a model finds unsound, after which it is not asked any more."""
_Drawn = tuple[bytes, tuple[int, str]]
"""Key of the question, number of the draw, and the task as a line."""


class Batch(Config):
    """What is drawn."""

    maker: str
    """Its name on the shelf."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the maker; the others keep the published setting."""
    source: Source
    """Where from."""
    seed: int = 0
    """Other seeds give other tasks."""


class Written(NamedTuple):
    """What came out."""

    n: int
    """Tasks in the file."""
    new: int
    """Those that this call made."""
    draws: int
    """Draws up to the last task."""
    source: str
    """Name and hash of the graph."""
    model: dict[str, int]
    """What this call's model did, by kind and how often; empty without a model."""


def write_batch(batch: Batch, out: Path, *, n: int, workers: int = 1, resume: bool = False, model: Model | None = None) -> Written:
    """Draw tasks with different questions into a file.

    Args:
        batch: what is drawn.
        out: a `.jsonl` file.
        n: tasks that the file shall have in the end.
        workers: processes.
        resume: go on with the file if there is one.
        model: words and judges the tasks.

    Raises:
        ConfigError: the maker, or one of its options, is not known.
        InputError: the file is there and `resume` is off, or belongs to another batch; the source has too few tasks; the disk is full; the
            model finds nothing sound, or see `Model.ask`.
        BrokenError: a process died, or the model's endpoint.
    """
    maker = makers.build(batch.maker, batch.options, source="--maker")
    if out.suffix != ".jsonl":
        raise InputError(f"{out}: tasks are written to .jsonl files; for other formats see `spadework tasks export`")
    if out.exists() and not resume:
        raise InputError(f"{out} is there already; add --resume to go on with it, or name another --out")
    graph = batch.source.graph()
    maker.check(graph)
    manifest = {**batch.model_dump(mode="json"), "options": maker.model_dump(mode="json"), "graph": graph.source}
    if model is not None:
        manifest["model"] = model.identity
    draws, keys = _done(out, manifest)
    before = done = len(keys)
    fates: Counter[str] = Counter()
    drawn = _drawn(maker, graph, batch.seed, draws) if workers == 1 else _drawn_by(workers, batch, draws)
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with Progress(f"synth {batch.maker}", n, done=before, unit="tasks") as progress:
        fresh = new_ones(drawn, keys, n - before, maker, graph)
        for draw, line in fresh if model is None else _told(drawn, keys, n - before, maker, graph, model, fates):
            if not out.exists():
                write_json(manifest_path(out), manifest)
            append_text(out, line + "\n")
            draws, done = draw + 1, done + 1
            progress.advance()
    return Written(done, done - before, draws, graph.source, dict(fates))


def manifest_path(out: Path) -> Path:
    """Where the manifest of a task file is."""
    return out.with_name(f"{out.stem}.manifest.json")


def source_of(file: Path) -> Source | None:
    """Where the tasks of a file come from, if it has a manifest."""
    path = manifest_path(file)
    return Source.parse(read_json(path)["source"], source=str(path)) if path.is_file() else None


def _done(out: Path, manifest: dict[str, Any]) -> tuple[int, set[bytes]]:
    """The next draw of a file, and the keys of its questions."""
    if not out.exists():
        return 0, set()
    path = manifest_path(out)
    if not path.is_file():
        raise InputError(f"{out}: {path.name} is missing, so nobody knows what it was made with; name another --out")
    # A corpus may have been moved; its hash is that of its pages.
    old, new = ({key: value for key, value in values.items() if key != "source"} for values in (read_json(path), manifest))
    if difference := first_difference(old, new):
        raise InputError(f"{out} was made with other settings: {difference}; take the same ones, or name another --out")
    draws, keys = 0, set()
    with out.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                task = json.loads(line)
                draws = task["meta"]["draw"] + 1
                keys.add(question_key(_template(task)))
            except (ValueError, KeyError, TypeError):
                raise InputError(f"{out}, line {number}: not a task of this maker; delete the line") from None
    return draws, keys


def _template(task: dict[str, Any]) -> str:
    """The question as the maker has worded it."""
    gates = task["meta"].get("ledger", {}).get("gates", ())
    return next((str(evidence[0]) for gate, passed, _, evidence in gates if gate == "wording" and passed), str(task["question"]))


def _told(
    drawn: Iterable[_Drawn | None], keys: set[bytes], n: int, maker: Maker, graph: Graph, model: Model, fates: Counter[str]
) -> Iterator[tuple[int, str]]:
    """New tasks that a model has worded and found sound, as lines; counts what became of all.

    Tasks of which a question has failed wait until a later batch has had replies: if the endpoint turns out to be dead, they are not made,
    and a later run draws them again. Which question of a batch is the last one that is answered is a matter of chance.
    """
    stream, kept, in_vain = iter(drawn), 0, 0
    waiting: list[Task] = []
    while kept < n:
        chunk: list[Task] = []
        missed = model.missed
        short: InputError | None = None
        try:
            for _, line in islice(new_ones(stream, keys, n - kept, maker, graph), min(n - kept, model.endpoint.concurrency)):
                chunk.append(Task.model_validate_json(line))
        except InputError as error:  # what was drawn before is good
            short = error
        try:
            told = list(judged(reworded(chunk, model), model))
        except BrokenError as error:
            raise BrokenError(f"{error}; what was made before is kept, go on with --resume") from None
        if not model.failing:
            yield from _lines(waiting)
        for task in told:
            sound, said = fate(task)
            fates.update(said)
            if sound:
                kept, in_vain = kept + 1, 0
                waiting.append(task)
                continue
            in_vain += 1
            if in_vain == _UNSOUND:
                raise InputError(f"{model.endpoint.model} finds none of {in_vain} questions in a row sound; ask another model, or none")
        if model.silent and (kept == n or short is not None):
            raise BrokenError(f"no question had a usable reply; the last: {model.silent}")
        if missed == model.missed or kept == n or short is not None:
            yield from _lines(waiting)
        if short is not None:
            raise short


def _lines(waiting: list[Task]) -> Iterator[tuple[int, str]]:
    """What has waited, and waits no more."""
    while waiting:
        task = waiting.pop(0)
        yield task.meta["draw"], task.model_dump_json()


def _drawn(maker: Maker, graph: Graph, seed: int, start: int) -> Iterator[_Drawn | None]:
    return (_draw(maker, graph, seed, index) for index in count(start))


def _draw(maker: Maker, graph: Graph, seed: int, index: int) -> _Drawn | None:
    task = task_at(maker, graph, seed, index)
    if task is None:
        return None
    if "ledger" in task.meta:
        task = locate(task, graph)
    return question_key(task.question), (index, task.model_dump_json())


def _drawn_by(workers: int, batch: Batch, start: int) -> Iterator[_Drawn | None]:
    """The same by several processes. As many blocks are on the way as keep them busy."""
    text = batch.model_dump_json()
    # Spawned, because a fork of a process with threads may hang.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    starts = count(start, _BLOCK)
    try:
        # What starts in here ignores Ctrl-C, which a terminal sends to all processes: it is for this one to stop the others.
        with on_interrupt(signal.SIG_IGN):
            waiting: deque[Future[list[_Drawn | None]]] = deque(pool.submit(_block, text, next(starts)) for _ in range(_AHEAD * workers))
        while True:
            yield from waiting.popleft().result()
            waiting.append(pool.submit(_block, text, next(starts)))
    except BrokenProcessPool:
        raise BrokenError("a process that made tasks died, maybe for want of memory; go on with --resume and fewer --workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _block(batch: str, start: int) -> list[_Drawn | None]:
    maker, graph, seed = _opened(batch)
    return [_draw(maker, graph, seed, index) for index in range(start, start + _BLOCK)]


@lru_cache(maxsize=1)
def _opened(batch: str) -> tuple[Maker, Graph, int]:
    """What a process draws with, made once."""
    read = Batch.model_validate_json(batch)
    return makers.build(read.maker, read.options), read.source.graph(), read.seed
