"""Attempts of a policy at a file of tasks, written as they are made: what the gates that read `--attempts` go by.

Every task is attempted the same number of times; the attempts of a task stand together, in the order of the tasks. They are made in blocks,
and a block is in the file when it is done. A process that is stopped, killed or out of disk leaves whole blocks, and a later one with the
same policy, tasks and settings goes on behind the last of them. A manifest beside the file (`attempts.manifest.json`) says what it was made
with.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spadework.core.errors import InputError
from spadework.core.events import disk_errors, read_json, write_json
from spadework.core.progress import Progress
from spadework.core.run import first_difference
from spadework.engines.engine import Engine, SamplingParams
from spadework.rewards.matching import em
from spadework.rollout.environment import Environment
from spadework.synthesis.batch import manifest_path
from spadework.tasks.task import Task
from spadework.trajectories.store import Record, append_records
from spadework.trajectories.tree import Status

__all__ = ["Attempts", "write_attempts"]

_BLOCK = 256
"""Attempts that are made before they are written, or those at one task if they are more."""


class Attempts(NamedTuple):
    """What came out."""

    n: int
    """Attempts in the file."""
    new: int
    """Those that this call made."""
    right: int
    """Exact matches."""
    broken: int
    """Attempts that infrastructure broke: neither right nor wrong."""
    never: int
    """Tasks of which no attempt is right."""
    always: int
    """Tasks of which every attempt is; broken ones apart."""


async def write_attempts(
    tasks: Sequence[Task],
    environment: Environment,
    engine: Engine,
    out: Path,
    *,
    samples: int,
    params: SamplingParams,
    seed: int,
    made_with: dict[str, Any],
    resume: bool = False,
) -> Attempts:
    """Attempt tasks and write the trajectories.

    Args:
        tasks: each id once.
        environment: agent and tools over the pages of the tasks.
        engine: samples the policy.
        out: a `.jsonl` file.
        samples: attempts per task.
        params: how to sample.
        seed: other seeds give other attempts.
        made_with: plain values that name policy, tasks and settings; a file is gone on with by the same ones only.
        resume: go on with the file if there is one.

    Raises:
        InputError: the file is there and `resume` is off, or it was made with something else; the disk is full.
    """
    if out.suffix != ".jsonl":
        raise InputError(f"{out}: trajectories are written to .jsonl files")
    if out.exists() and not resume:
        raise InputError(f"{out} is there already; add --resume to go on with it, or name another --out")
    block = max(1, _BLOCK // samples)
    outcomes = _done(out, made_with, tasks, samples, block)
    done = len(outcomes) // samples
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_json(manifest_path(out), made_with)
    with Progress("rollout", len(tasks) * samples, done=len(outcomes), unit="attempts") as progress:
        for start in range(done, len(tasks), block):
            chosen = tasks[start : start + block]
            groups = await environment.rollout(
                chosen, engine, params, num_samples=samples, seed=seed, progress=lambda _: progress.advance()
            )
            pairs = [(task, one) for task, group in zip(chosen, groups, strict=True) for one in group]
            append_records(out, [Record(one, task.model_dump(mode="json")) for task, one in pairs])
            outcomes += [_outcome(task, one.status, one.answer) for task, one in pairs]
    by_task = [outcomes[start : start + samples] for start in range(0, len(outcomes), samples)]
    return Attempts(
        n=len(outcomes),
        new=len(outcomes) - done * samples,
        right=outcomes.count(True),
        broken=outcomes.count(None),
        never=sum(True not in one for one in by_task),
        always=sum(True in one and False not in one for one in by_task),
    )


def _outcome(task: Task, status: str, answer: str | None) -> bool | None:
    """Whether an attempt is right; None if infrastructure broke it."""
    return None if status == Status.BROKEN else bool(answer and em(answer, task.answers))


def _done(out: Path, made_with: dict[str, Any], tasks: Sequence[Task], samples: int, block: int) -> list[bool | None]:
    """Outcomes of the whole blocks of a file; what comes after them is cut off."""
    if not out.exists():
        return []
    manifest = manifest_path(out)
    if not manifest.is_file():
        raise InputError(f"{out}: {manifest.name} is missing, so nobody knows what it was made with; name another --out")
    if difference := first_difference(read_json(manifest), json.loads(json.dumps(made_with))):
        raise InputError(f"{out} was made with other settings: {difference}; take the same ones, or name another --out")
    outcomes: list[bool | None] = []
    ends: list[int] = []
    for number, (end, line) in enumerate(_whole_lines(out)):
        task = tasks[min(number // samples, len(tasks) - 1)]
        try:
            trajectory = json.loads(line)["trajectory"]
            if number >= len(tasks) * samples or (trajectory["task_id"], trajectory["sample"]) != (task.id, number % samples):
                raise ValueError
            outcomes.append(_outcome(task, trajectory["status"], trajectory["answer"]))
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{out}, line {number + 1}: not an attempt that belongs here; name another --out") from None
        ends.append(end)
    whole = len(tasks) * samples if len(outcomes) == len(tasks) * samples else len(outcomes) // (block * samples) * block * samples
    with disk_errors(out), out.open("r+b") as file:
        file.truncate(ends[whole - 1] if whole else 0)
    return outcomes[:whole]


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines of a file with the place where each ends."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            end += len(line)
            if line.endswith(b"\n"):
                yield end, line
