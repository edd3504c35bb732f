"""A curation into files that can be stopped at any time and goes on where it was.

Every decision is a line of a journal (`good.curation.jsonl` beside `good.jsonl`) as soon as it is made; its first line says what is decided
with what. When all tasks are decided the files are written as a whole and the journal is removed. A process that is killed, or a disk that
is full, leaves the journal, and a later one with the same tasks, gates and ground goes on behind its last line: the files come out as if
nothing had happened. Without a journal a curation begins at the beginning.

Not done: asking undecided tasks again; they stay as they are until all are asked anew.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spadework.core.errors import InputError
from spadework.core.events import append_text, disk_errors, read_events
from spadework.core.progress import Progress
from spadework.core.run import first_difference
from spadework.synthesis.curation.curate import Decision, curate
from spadework.synthesis.gates.gate import Gate, Ground
from spadework.tasks.dataset import write_tasks
from spadework.tasks.task import Task

__all__ = ["curate_into", "journal_path"]


def curate_into(
    out: Path,
    tasks: Sequence[Task],
    gates: Sequence[Gate],
    ground: Ground,
    *,
    dropped: Path | None = None,
    settings: dict[str, Any],
    resume: bool = False,
) -> list[Decision]:
    """Put tasks through gates and write those that are kept.

    Args:
        out: a `.jsonl` or `.parquet` file for them; one that is there is replaced in the end.
        tasks: what is decided.
        gates: in the order in which they are asked.
        ground: what they check against.
        dropped: a file for the others: first the dropped, then the undecided.
        settings: plain values that say what is decided with what; a curation goes on with the same ones only.
        resume: go on with the journal if there is one.

    Returns:
        One decision per task, in their order.

    Raises:
        InputError: see `curate`; a journal is there and `resume` is off, or belongs to other settings; the disk is full.
    """
    journal = journal_path(out)
    if journal.exists() and not resume:
        raise InputError(f"{journal} is of a curation that was stopped; add --resume to go on with it, or delete it")
    decisions = _read(journal, settings)
    fresh = not decisions
    with Progress("curate", len(tasks), done=len(decisions), unit="tasks") as progress:
        for decision in curate(tasks, gates, ground, done=list(decisions)):
            if fresh:
                journal.unlink(missing_ok=True)
                with disk_errors(journal):
                    journal.parent.mkdir(parents=True, exist_ok=True)
                append_text(journal, json.dumps(settings, ensure_ascii=False) + "\n")
                fresh = False
            append_text(journal, _line(decision))
            decisions.append(decision)
            progress.advance()
    by_fate = {fate: [one.task for one in decisions if one.fate == fate] for fate in ("kept", "dropped", "undecided")}
    with disk_errors(out):
        write_tasks(by_fate["kept"], out)
    if dropped is not None:
        with disk_errors(dropped):
            write_tasks(by_fate["dropped"] + by_fate["undecided"], dropped)
    journal.unlink(missing_ok=True)
    return decisions


def journal_path(out: Path) -> Path:
    """Where the journal of a curation into a file is."""
    return out.with_name(f"{out.stem}.curation.jsonl")


def _read(journal: Path, settings: dict[str, Any]) -> list[Decision]:
    """The decisions of a journal; none without one."""
    lines = read_events(journal)
    if not lines:
        return []
    if difference := first_difference(lines[0], json.loads(json.dumps(settings))):
        raise InputError(f"{journal} is of a curation with other settings: {difference}; take the same ones, or delete it")
    try:
        return [Decision(Task.model_validate(line["task"]), line["fate"], line["gate"], line["why"]) for line in lines[1:]]
    except (KeyError, ValidationError):
        raise InputError(f"{journal}: not the decisions of a curation; delete it") from None


def _line(decision: Decision) -> str:
    facts = {"fate": decision.fate, "gate": decision.gate, "why": decision.why, "task": decision.task.model_dump(mode="json")}
    return json.dumps(facts, ensure_ascii=False) + "\n"
