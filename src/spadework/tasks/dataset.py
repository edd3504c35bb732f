"""Task files: jsonl with one task per line, and verl's parquet rows. Both give back exactly what was written.

A verl row is `data_source, prompt, ability, reward_model, extra_info` as its rule-based rewards expect; ours keeps the whole task in
`extra_info` (`meta` as JSON text, because parquet has no free-form mappings). Foreign rows are read too: Search-R1's parquet (`target` a
list or one text, with or without `question` and `golden_answers`) and question files `{id, question, answers or golden_answers, gold_ids}`.
They get the kind `qa`, and what a question file has beyond that goes to `meta`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from pydantic import ValidationError

from spadework.core.errors import InputError
from spadework.tasks.task import Task

__all__ = ["read_tasks", "task_from_verl", "verl_row", "write_tasks"]

_ABILITY = "deep-research"
_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())
_SCHEMA = pa.schema(
    {
        "data_source": _TEXT,
        "prompt": pa.list_(pa.struct({"role": _TEXT, "content": _TEXT})),
        "ability": _TEXT,
        "reward_model": pa.struct({"style": _TEXT, "ground_truth": pa.struct({"target": _TEXTS})}),
        "extra_info": pa.struct(
            {
                "index": pa.int64(),
                "split": _TEXT,
                "id": _TEXT,
                "question": _TEXT,
                "hops": pa.int64(),
                "kind": _TEXT,
                "evidence": _TEXTS,
                "source": _TEXT,
                "meta": _TEXT,
            }
        ),
    }
)
"""Written out, because pyarrow infers no type from a column of empty lists."""


def read_tasks(path: Path) -> list[Task]:
    """Read a task file.

    Args:
        path: `.jsonl` or `.parquet`.

    Raises:
        InputError: the file is missing, empty or of another type, a row is malformed (names the row), or a task id occurs twice.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".jsonl":
        tasks = [_from_json(line, f"{path}, line {n}") for n, line in enumerate(path.read_bytes().splitlines(), start=1) if line.strip()]
    elif path.suffix == ".parquet":
        try:
            rows = pq.read_table(path).to_pylist()
        except pa.ArrowException as error:
            raise InputError(f"{path}: not a parquet file ({error})") from None
        tasks = [task_from_verl(row, f"{path}, row {n}") for n, row in enumerate(rows)]
    else:
        raise InputError(f"{path}: tasks are read from .jsonl or .parquet files")
    if not tasks:
        raise InputError(f"{path}: no tasks in this file")
    seen: set[str] = set()
    for task in tasks:
        if task.id in seen:
            raise InputError(f"{path}: task id '{task.id}' occurs twice; ids must be unique")
        seen.add(task.id)
    return tasks


def write_tasks(tasks: Sequence[Task], path: Path, *, split: str = "train") -> None:
    """Write a task file whole or not at all.

    Args:
        tasks: what to write.
        path: `.jsonl` or `.parquet`; folders are made.
        split: stands in `extra_info` of parquet rows.

    Raises:
        InputError: the suffix is another one.
    """
    if path.suffix not in (".jsonl", ".parquet"):
        raise InputError(f"{path}: tasks are written to .jsonl or .parquet files")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    if path.suffix == ".jsonl":
        part.write_text("".join(task.model_dump_json() + "\n" for task in tasks), encoding="utf-8")
    else:
        rows = [verl_row(task, index=index, split=split) for index, task in enumerate(tasks)]
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), part)
    part.replace(path)


def verl_row(task: Task, *, index: int, split: str) -> dict[str, Any]:
    """A task as a verl row; the prompt is the bare question, as the agent's protocol adds its own instructions."""
    return {
        "data_source": task.source or task.kind,
        "prompt": [{"role": "user", "content": task.question}],
        "ability": _ABILITY,
        "reward_model": {"style": "rule", "ground_truth": {"target": list(task.answers)}},
        "extra_info": {
            "index": index,
            "split": split,
            "id": task.id,
            "question": task.question,
            "hops": task.hops,
            "kind": task.kind,
            "evidence": list(task.evidence),
            "source": task.source,
            "meta": json.dumps(task.meta, ensure_ascii=False),
        },
    }


def task_from_verl(row: Mapping[str, Any], place: str) -> Task:
    """The task of a verl row, ours or Search-R1's.

    Args:
        row: plain Python values.
        place: file and row; named in errors.

    Raises:
        InputError: the row has no question or no gold answer, or a field of a wrong type.
    """
    extra = row.get("extra_info") or {}
    if not isinstance(extra, Mapping):
        raise InputError(f"{place}: 'extra_info' must be a mapping, found {type(extra).__name__}")
    source = row.get("data_source") or ""
    split, index = extra.get("split") or "", extra.get("index", 0)
    question = extra.get("question") or row.get("question") or _last_user_message(row.get("prompt"))
    if not question:
        raise InputError(f"{place}: no question; a row needs a user message in 'prompt' or a 'question'")
    meta = extra.get("meta")
    try:
        meta = json.loads(meta) if isinstance(meta, str) else meta
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: 'extra_info.meta' is not JSON ({error})") from None
    values = {
        "id": extra.get("id") or row.get("id") or f"{source}/{split}/{index}",
        "question": question,
        "answers": _targets(row, place),
        "evidence": extra.get("evidence") or (),
        "hops": extra["hops"] if extra.get("hops") is not None else 1,
        "kind": extra["kind"] if extra.get("kind") is not None else "qa",
        "source": extra["source"] if extra.get("source") is not None else source,
        "meta": meta or {},
    }
    return _checked(values, place)


def _targets(row: Mapping[str, Any], place: str) -> Sequence[str]:
    model = row.get("reward_model")
    truth = model.get("ground_truth") if isinstance(model, Mapping) else None
    if isinstance(truth, Mapping):
        truth = truth.get("target")
    if truth is None:
        truth = row.get("golden_answers")
    if isinstance(truth, str):
        truth = [truth]
    if not isinstance(truth, Sequence) or not truth or not all(isinstance(answer, str) for answer in truth):
        raise InputError(f"{place}: no gold answer; 'reward_model.ground_truth.target' must be a text or a list of texts")
    return truth


def _last_user_message(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    messages = prompt if isinstance(prompt, Iterable) else ()
    contents = [message.get("content") for message in messages if isinstance(message, Mapping) and message.get("role") == "user"]
    return contents[-1] if contents and isinstance(contents[-1], str) else ""


def _from_json(line: bytes, place: str) -> Task:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{place}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise InputError(f"{place}: expected an object, found {type(row).__name__}")
    if row.keys() <= Task.model_fields.keys() and "answers" in row:
        return _checked(row, place)
    known = {"id", "question", "answers", "golden_answers", "gold_ids", "hops"}
    evidence = row.get("gold_ids") or []
    values = {
        "id": row.get("id"),
        "question": row.get("question"),
        "answers": row.get("answers", row.get("golden_answers")),
        "evidence": evidence,
        "hops": row.get("hops", max(1, len(evidence))),
        "kind": "qa",
        "meta": {key: value for key, value in row.items() if key not in known},
    }
    return _checked({key: value for key, value in values.items() if value is not None}, place)


def _checked(values: dict[str, Any], place: str) -> Task:
    try:
        return Task.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{place}: '{key}': {first['msg']}") from None
