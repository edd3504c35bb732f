"""Trajectories on disk: JSON lines, one trajectory with its task per line, each with the version of the schema.

A record reads back equal to what was written. A version that this code does not know is refused, never guessed at.

A file is replaced as a whole (`write_records`) or grows by whole lines (`append_records`); a line torn by a kill is skipped and later
cut off.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spadework.core.errors import InputError
from spadework.core.events import append_text, write_atomic
from spadework.core.messages import Message
from spadework.trajectories.tree import Column, Node, Status, Trajectory

__all__ = ["SCHEMA", "Record", "append_records", "decode_record", "encode_record", "read_records", "write_records"]

SCHEMA = 1
"""Version of the format; raised whenever an old reader would misread a new file."""
_COLUMNS = ("logprobs", "entropies", "advantages", "token_rewards", "values", "returns")


@dataclass(slots=True)
class Record:
    """A trajectory and the task that it attempts."""

    trajectory: Trajectory
    task: dict[str, Any] = field(default_factory=dict)
    """`Task.model_dump(mode="json")`; a plain dict, because tasks stand in a higher layer."""


def encode_record(record: Record) -> dict[str, Any]:
    """A record as plain JSON values."""
    trajectory = record.trajectory
    values = {name: getattr(trajectory, name) for name in Trajectory.__slots__ if name != "nodes"}
    return {"schema": SCHEMA, "task": record.task, "trajectory": {**values, "nodes": [_encode_node(node) for node in trajectory.nodes]}}


def decode_record(values: dict[str, Any]) -> Record:
    """The inverse of `encode_record`.

    Raises:
        InputError: the schema version is unknown, or a field is missing, unknown or of the wrong kind.
    """
    version = values.get("schema")
    if version != SCHEMA:
        raise InputError(f"schema version {version!r} is unknown; this version of spadework reads {SCHEMA}")
    try:
        fields = values["trajectory"]
        nodes = [_decode_node(node) for node in fields["nodes"]]
        trajectory = Trajectory(**{**fields, "nodes": nodes, "status": Status(fields["status"])})
        return Record(trajectory=trajectory, task=values["task"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"not a trajectory: {type(error).__name__}: {' '.join(str(error).split())}") from None


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a file as a whole: readers see the old one or the new one, never a part.

    Raises:
        InputError: the disk is full or not writable.
        ValueError: a number is not finite.
    """
    write_atomic(path, "".join(_line(record) for record in records))


def append_records(path: Path, records: Iterable[Record]) -> None:
    """Add records to the end of a file, which is created if need be; a torn last line is cut off first.

    Raises:
        InputError: the disk is full or not writable.
        ValueError: a number is not finite.
    """
    append_text(path, "".join(_line(record) for record in records))


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file, in order. A torn last line, which a kill can leave, is skipped.

    Raises:
        InputError: the file is missing, or a line can not be read; names the line.
    """
    try:
        file = path.open(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path}: no such file of trajectories") from None
    with file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}:{number}: not JSON ({error.msg}); delete the line") from None
            if not isinstance(values, dict):
                raise InputError(f"{path}:{number}: expected an object, found {type(values).__name__}")
            try:
                yield decode_record(values)
            except InputError as error:
                raise InputError(f"{path}:{number}: {error}") from None


def _line(record: Record) -> str:
    return json.dumps(encode_record(record), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _encode_node(node: Node) -> dict[str, Any]:
    values = {name: getattr(node, name) for name in Node.__slots__ if name not in ("messages", "num_sampled")}
    values |= {name: list(values[name]) for name in _COLUMNS}
    return {**values, "messages": [message.model_dump(mode="json", exclude_defaults=True) for message in node.messages]}


def _decode_node(values: dict[str, Any]) -> Node:
    columns = {name: Column(values[name]) for name in _COLUMNS if name in values}
    node = Node(**{**values, **columns, "messages": tuple(Message.model_validate(message) for message in values["messages"])})
    node.shared_with = None if node.shared_with is None else (int(node.shared_with[0]), int(node.shared_with[1]))
    count = len(node.token_ids)
    for name in ("mask", "logprobs", "entropies"):
        if len(getattr(node, name)) != count:
            raise InputError(f"node {node.id}: {len(getattr(node, name))} {name} for {count} tokens")
    return node
