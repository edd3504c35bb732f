"""Tasks as rows of other trainers, one JSON object per line. verl's parquet rows are in `dataset.py`.

Neither format has a place for a whole task, so ours is not read back from them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from spadework.core.errors import InputError
from spadework.core.events import disk_errors
from spadework.tasks.dataset import write_tasks
from spadework.tasks.task import Task

__all__ = ["Format", "export_tasks", "nemo_gym_row", "trl_row"]

Format = Literal["verl", "trl", "nemo-gym"]


def trl_row(task: Task) -> dict[str, Any]:
    """A row for TRL's trainers: `prompt` as messages; the other columns are handed to reward functions by name."""
    return {
        "prompt": [{"role": "user", "content": task.question}],
        "id": task.id,
        "answers": list(task.answers),
        "evidence": list(task.evidence),
        "hops": task.hops,
        "kind": task.kind,
        "source": task.source,
        # As text: a column of a data set has one type.
        "meta": json.dumps(task.meta, ensure_ascii=False),
    }


def nemo_gym_row(task: Task) -> dict[str, Any]:
    """A row for NeMo Gym: `responses_create_params` in the schema of the Responses API, and what a resources server verifies with.

    `agent_ref` is left out; NeMo Gym adds it when it prepares the data. Servers that compare with one text read `expected_answer`.
    """
    return {
        "responses_create_params": {"input": [{"role": "user", "content": task.question}]},
        "id": task.id,
        "question": task.question,
        "expected_answer": task.answers[0],
        "expected_answers": list(task.answers),
        "evidence": list(task.evidence),
        "kind": task.kind,
    }


def export_tasks(tasks: Sequence[Task], path: Path, to: Format, *, split: str = "train") -> None:
    """Write tasks for another trainer, whole or not at all.

    Args:
        tasks: what to write.
        path: `.parquet` for verl, `.jsonl` for the others; folders are made.
        to: the trainer.
        split: stands in verl's rows.

    Raises:
        InputError: the suffix is another one, or the disk is full.
    """
    suffix = ".parquet" if to == "verl" else ".jsonl"
    if path.suffix != suffix:
        raise InputError(f"{path}: the format '{to}' is written to {suffix} files")
    with disk_errors(path):
        if to == "verl":
            write_tasks(tasks, path, split=split)
            return
        row = trl_row if to == "trl" else nemo_gym_row
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text("".join(json.dumps(row(task), ensure_ascii=False) + "\n" for task in tasks), encoding="utf-8")
        part.replace(path)
