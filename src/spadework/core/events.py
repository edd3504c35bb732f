"""Files that survive a kill: whole-file writes that are atomic, and an append-only log of events.

A reader sees a file as it was before or after a write, never in between (`write_atomic`: temporary file, fsync, rename). A log line is
flushed as soon as it is written. A process that is killed, or a disk that fills up, can leave at most one torn last line, which readers
skip and the next writer cuts off. What the operating system refuses (a full disk, a read-only folder) becomes one `InputError` line that
names the path.

Not done here: locking. One process writes a run.
"""

import errno
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from spadework.core.errors import InputError

__all__ = [
    "append_event",
    "append_text",
    "disk_errors",
    "file_hash",
    "json_text",
    "read_events",
    "read_json",
    "rewind_events",
    "write_atomic",
    "write_json",
]

_BLOCK_BYTES = 65_536

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space, then continue with --resume",
    errno.EDQUOT: "the disk quota is used up; free some space, then continue with --resume",
    errno.EFBIG: "the file-size limit of this process is reached; raise it (ulimit -f), then continue with --resume",
    errno.EACCES: "no permission to write here; name another --out",
    errno.EPERM: "no permission to write here; name another --out",
    errno.EROFS: "the file system is read-only; name another --out",
    errno.ENOTDIR: "a part of this path is a file, not a folder; name another --out",
    errno.EISDIR: "this is a folder, not a file; name another --out",
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses inside the block into one line that names the path.

    Raises:
        InputError: the disk is full, the folder is not writable or the path runs through a file. Other errors pass through.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        raise InputError(f"{path}: {_REASONS[error.errno]}") from error


def write_atomic(path: Path, text: str) -> None:
    """Replace a file by this text, or leave it exactly as it was.

    Raises:
        InputError: the disk is full or not writable.
    """
    partial = path.with_name(f".{path.name}.partial")
    with disk_errors(path):
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def json_text(value: Any) -> str:
    """A value as indented JSON. Numbers that are not finite become null; scalars of array libraries become numbers."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False)


def write_json(path: Path, value: Any) -> None:
    """Replace a file by a value as indented JSON (see `json_text`), atomically."""
    write_atomic(path, json_text(value) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file is missing or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, IsADirectoryError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def append_event(path: Path, event: Mapping[str, Any]) -> None:
    """Write one event as the last line of a log, and flush it.

    Args:
        path: the log; made if it is not there.
        event: `stage`, `step` and numbers.

    Raises:
        InputError: the disk is full. The log then ends with the event before, complete.
    """
    append_text(path, json.dumps(_plain(event), ensure_ascii=False) + "\n")


def append_text(path: Path, text: str) -> None:
    """Add whole lines to the end of a file, and flush them; a torn last line is cut off first.

    Args:
        path: the file; made if it is not there.
        text: lines, each with its newline.

    Raises:
        InputError: the disk is full. The file then ends as it did before, complete.
    """
    data = text.encode()
    with disk_errors(path), path.open("a+b", buffering=0) as file:
        size = _whole_length(file)
        file.truncate(size)
        try:
            # Without a buffer a write may be short, and only the next one tells why.
            while data:
                data = data[file.write(data) :]
        except OSError:
            file.truncate(size)
            raise


def file_hash(path: Path) -> str:
    """The first 32 digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def rewind_events(path: Path, stage: str, step: int) -> None:
    """Forget what came after a step of a stage, so that a resumed run writes it again.

    All that stands after the last event of `stage` with at most this step is dropped; events of earlier stages stay. Without such an
    event the stage is forgotten from its first event on; a stage without events leaves the log as it is.
    """
    events = read_events(path)
    of_stage = [number for number, event in enumerate(events) if event["stage"] == stage]
    if not of_stage:
        return
    kept = [number for number in of_stage if events[number]["step"] <= step]
    count = kept[-1] + 1 if kept else of_stage[0]
    lines = path.read_bytes().splitlines(keepends=True)
    with disk_errors(path):
        os.truncate(path, sum(map(len, lines[:count])))


def read_events(path: Path) -> list[dict[str, Any]]:
    """All complete events of a log, oldest first; a torn last line is skipped, and a missing file has none.

    Raises:
        InputError: a complete line is not a JSON object.
    """
    if not path.exists():
        return []
    events: list[dict[str, Any]] = []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    for number, line in enumerate(whole.split(b"\n") if whole else [], start=1):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            raise InputError(f"{path}:{number}: not a JSON object; delete the line")
        events.append(event)
    return events


def _whole_length(file: IO[bytes]) -> int:
    """Length in bytes up to and including the last newline."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _plain(value: Any) -> Any:
    """Numbers, texts, lists and mappings that JSON can hold. Scalars of array libraries become Python numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return _plain(value.item())
    raise TypeError(f"{type(value).__name__} cannot stand in JSON")
