"""The tape: a content-addressed record of tool calls that can be replayed: same calls, same observations, no network.

A call's key is a hash of the tool, its version, the canonical JSON of the arguments and, for a tool with state, the trajectory's earlier
calls of that state. The first record of a key stands: a later call with the same key gets it instead of going out, in the recorded run and
in the replay alike, and so do calls that are in flight together. What broke is no function of the key, so failures of infrastructure are
kept by trajectory and index of the call, and a replayed run breaks where the recorded one broke.

Storage is one SQLite file in WAL mode: several processes may write, a kill leaves whole records, and every record has a checksum. The hash
of a tape is that of its records in the order of their keys, so it does not depend on who wrote first.
"""

import base64
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from spadework.core.config import Config
from spadework.core.errors import InputError
from spadework.tools.tool import Image, Observation, Usage

__all__ = ["SCHEMA", "Entry", "Failure", "Tape", "TapeConfig", "TapeError", "call_key", "canonical", "decode", "encode", "manifest_of"]

SCHEMA = 1
"""Version of the format; raised whenever an old reader would misread a new tape."""

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE calls (key TEXT PRIMARY KEY, tool TEXT NOT NULL, version TEXT NOT NULL, arguments TEXT NOT NULL, history TEXT NOT NULL,
                    observation TEXT NOT NULL, checksum TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX calls_by_tool ON calls (tool);
CREATE TABLE failures (stream TEXT NOT NULL, number INTEGER NOT NULL, tool TEXT NOT NULL, arguments TEXT NOT NULL, error TEXT NOT NULL,
                       checksum TEXT NOT NULL, PRIMARY KEY (stream, number)) WITHOUT ROWID;
"""
_BUSY_MS = 30_000


class TapeError(InputError):
    """A tape cannot be read or written; the message names the file and the remedy."""


class TapeConfig(Config):
    """What a run does with a tape."""

    mode: Literal["record", "replay", "live"] = "record"
    """`record`: what stands on the tape is taken from it, and what is not goes out and is added. `replay`: nothing goes out, except what
    `miss` allows, and nothing is added. `live`: the tape is left alone."""
    path: Path | None = None
    """The file; `tape` in the run's folder if not given, which only `record` can do."""
    miss: Literal["error", "live", "nearest"] | None = None
    """What `replay` does with a call that is not on the tape: `error` (the default) ends the run; `live` lets it go out; `nearest` answers
    with the most similar recorded call of the tool, which the observation's `meta` says."""

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if self.miss is not None and self.mode != "replay":
            raise ValueError(f"miss has no effect in mode '{self.mode}'")
        if self.path is None and self.mode == "replay":
            raise ValueError("mode 'replay' needs the path of a tape")
        return self


@dataclass(frozen=True, slots=True)
class Entry:
    """A recorded call."""

    key: str
    tool: str
    version: str
    arguments: str
    """Canonical JSON."""
    history: str
    """Hash of the earlier calls of the tool's state; empty for a tool without one."""
    observation: str
    """JSON."""

    def matches(self) -> bool:
        """Whether the key is that of the call."""
        return self.key == call_key(self.tool, self.version, self.arguments, self.history)


@dataclass(frozen=True, slots=True)
class Failure:
    """A recorded failure of infrastructure."""

    stream: str
    """The trajectory: its label and seed."""
    number: int
    """Index of the call within it."""
    tool: str
    arguments: str
    error: str


def canonical(value: Any) -> str:
    """JSON that is equal for equal values: sorted keys, no spaces, Unicode as it is."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Half a character (a lone surrogate) cannot be stored as UTF-8; with a backslash it is what JSON writes for it.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def call_key(tool: str, version: str, arguments: str, history: str = "") -> str:
    """The key of a call.

    Args:
        tool: its name.
        version: `Facts.version`.
        arguments: canonical JSON.
        history: hash of the earlier calls of the tool's state in this trajectory; empty for a tool without state or a first call.
    """
    return _hash(tool, version, arguments, history)


def encode(observation: Observation) -> str:
    """An observation as JSON; bytes of images in base64."""
    values = asdict(observation)
    values["images"] = [{**asdict(image), "data": base64.b64encode(image.data).decode()} for image in observation.images]
    return canonical(values)


def decode(text: str) -> Observation:
    """The inverse of `encode`."""
    values = json.loads(text)
    values["images"] = tuple(Image(image["mime"], base64.b64decode(image["data"]), image["url"]) for image in values["images"])
    values["usage"] = Usage(**values["usage"])
    for name in ("documents", "links"):
        values[name] = tuple(values[name])
    return Observation(**values)


def manifest_of(entries: Iterable[Entry], failures: Iterable[Failure]) -> dict[str, Any]:
    """What a tape with these records, in the order of their keys, says about itself: see `Tape.manifest`."""
    digest = hashlib.sha256()
    counts: dict[str, int] = {}
    broken = 0
    for entry in entries:
        digest.update(canonical(asdict(entry)).encode() + b"\n")
        counts[entry.tool] = counts.get(entry.tool, 0) + 1
    for failure in failures:
        digest.update(canonical(asdict(failure)).encode() + b"\n")
        broken += 1
    return {"schema": SCHEMA, "calls": sum(counts.values()), "tools": counts, "failures": broken, "hash": digest.hexdigest()}


class Tape:
    """An open tape. Close it, or use it as a context manager."""

    def __init__(self, path: Path, *, write: bool = True) -> None:
        """Open a tape; a new one is made when it may be written.

        Args:
            path: the file.
            write: whether records may be added; a tape that is only read is never changed.

        Raises:
            TapeError: there is none, it is of another schema version, or it is no tape.
        """
        self.path, self.write = path, write
        if path.is_dir():
            raise TapeError(f"{path} is a folder; name the file of a tape")
        if not write and not path.is_file():
            raise TapeError(f"{path}: no such tape; record one with tools.tape.mode=record")
        with self._errors():
            if write:
                path.parent.mkdir(parents=True, exist_ok=True)
            # Readers of a WAL file write its index beside it, which a read-only folder does not let them.
            mode = "rwc" if write else "ro" if os.access(path.parent, os.W_OK) else "ro&immutable=1"
            target = f"{path.absolute().as_uri()}?mode={mode}"
            # Autocommit: every statement is a transaction of its own unless one is begun.
            self._db = sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise

    def _open(self) -> None:
        self._db.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        if self.write:
            self._db.execute("PRAGMA journal_mode=WAL")
            # A kill loses nothing, and a power cut at most the last records.
            self._db.execute("PRAGMA synchronous=NORMAL")
            with self._transaction():
                if not self._db.execute("SELECT name FROM sqlite_master").fetchone():
                    for statement in _TABLES.split(";"):
                        self._db.execute(statement)
                    self._db.execute("INSERT INTO facts VALUES ('schema', ?)", (str(SCHEMA),))
        if not self._db.execute("SELECT name FROM sqlite_master WHERE name='facts'").fetchone():
            raise TapeError(f"{self.path} is a database but not a tape; name another file")
        row = self._db.execute("SELECT value FROM facts WHERE name='schema'").fetchone()
        if row is None or row[0] != str(SCHEMA):
            found = row[0] if row else "none"
            raise TapeError(f"{self.path}: schema version {found} is unknown; this version of spadework reads {SCHEMA}; record it again")

    def __enter__(self) -> Self:
        """The tape."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def get(self, key: str) -> Observation | None:
        """The observation recorded under a key.

        Raises:
            TapeError: the record is damaged.
        """
        with self._errors():
            row = self._db.execute("SELECT key, tool, version, arguments, history, observation, checksum FROM calls WHERE key=?", (key,))
            found = row.fetchone()
        return self._decoded(found) if found else None

    def put(self, entry: Entry) -> Observation:
        """Record a call and return what now stands under its key: an earlier record stays.

        Raises:
            TapeError: the disk is full, or the tape is damaged or read-only.
        """
        row = (entry.key, entry.tool, entry.version, entry.arguments, entry.history, entry.observation)
        with self._errors():
            done = self._db.execute("INSERT OR IGNORE INTO calls VALUES (?,?,?,?,?,?,?)", (*row, _hash(*row)))
        if done.rowcount:
            return decode(entry.observation)
        found = self.get(entry.key)
        assert found is not None, "a key that cannot be inserted is there"
        return found

    def failure(self, stream: str, number: int) -> Failure | None:
        """The failure recorded for a call of a trajectory."""
        with self._errors():
            row = self._db.execute("SELECT * FROM failures WHERE stream=? AND number=?", (stream, number)).fetchone()
        return self._checked_failure(row) if row else None

    def put_failure(self, failure: Failure) -> None:
        """Record that a call of a trajectory broke.

        Raises:
            TapeError: as `put`.
        """
        row = (failure.stream, failure.number, failure.tool, failure.arguments, failure.error)
        with self._errors():
            self._db.execute("INSERT OR REPLACE INTO failures VALUES (?,?,?,?,?,?)", (*row, _hash(*map(repr, row))))

    def forget_failure(self, stream: str, number: int) -> None:
        """Drop the failure of a call that has gone well this time, so that a replay does not break there."""
        if self.failure(stream, number) is not None:
            with self._errors():
                self._db.execute("DELETE FROM failures WHERE stream=? AND number=?", (stream, number))

    def nearest(self, tool: str, arguments: str) -> tuple[Observation, Entry, float] | None:
        """The recorded call of a tool whose arguments are most like the wanted ones; None if there is none of this tool.

        Returns:
            The observation, its record, and the likeness in 0 to 1: shared words (Jaccard) first, shared text (difflib's ratio) among the
            best of them. Equal ones are told apart by their keys, so the result does not depend on the order of recording.
        """
        with self._errors():
            rows = self._db.execute("SELECT * FROM calls WHERE tool=? ORDER BY key", (tool,)).fetchall()
        if not rows:
            return None
        wanted = _words(arguments)

        def shared(row: tuple[str, ...]) -> float:
            words = _words(row[3])
            return len(wanted & words) / max(1, len(wanted | words))

        scores = [shared(row) for row in rows]
        most = max(scores)
        top = [row for score, row in zip(scores, rows, strict=True) if score == most]
        # Comparing texts is a thousand times as slow as comparing words, so ties beyond this many keep the order of their keys.
        row = max(top[:100], key=lambda row: SequenceMatcher(None, arguments, row[3], autojunk=False).ratio())
        return self._decoded(row), Entry(*row[:6]), most

    def entries(self) -> Iterator[Entry]:
        """All records in the order of their keys.

        Raises:
            TapeError: one is damaged.
        """
        with self._errors():
            for row in self._db.execute("SELECT * FROM calls ORDER BY key"):
                self._check(row)
                yield Entry(*row[:6])

    def failures(self) -> Iterator[Failure]:
        """All failures in the order of trajectory and call."""
        with self._errors():
            for row in self._db.execute("SELECT * FROM failures ORDER BY stream, number"):
                yield self._checked_failure(row)

    def manifest(self) -> dict[str, Any]:
        """What is on the tape: schema version, numbers of calls by tool and of failures, and the hash of the contents.

        Raises:
            TapeError: a record is damaged.
        """
        return manifest_of(self.entries(), self.failures())

    def check_file(self) -> None:
        """Let SQLite check its own structure.

        Raises:
            TapeError: the file is damaged.
        """
        with self._errors():
            [found] = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise TapeError(f"{self.path}: the file is damaged ({found}); take a copy of the tape")

    def add(self, entries: Iterable[Entry], failures: Iterable[Failure]) -> int:
        """Take over records in one transaction; all or none.

        Returns:
            How many calls are new.

        Raises:
            TapeError: the same key has two observations, or the disk is full.
        """
        new = 0
        with self._errors(), self._transaction():
            for entry in entries:
                found = self._db.execute("SELECT observation FROM calls WHERE key=?", (entry.key,)).fetchone()
                if found and found[0] != entry.observation:
                    raise TapeError(f"{self.path}: {entry.tool}({entry.arguments}) has two different observations; drop one of the tapes")
                if not found:
                    self.put(entry)
                    new += 1
            for failure in failures:
                self.put_failure(failure)
        return new

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What SQLite and the operating system refuse, as one line that names the tape."""
        try:
            yield
        except sqlite3.Error as error:
            reason = str(error)
            if "full" in reason:
                raise TapeError(f"{self.path}: the disk is full; free some space") from error
            if "locked" in reason or "busy" in reason:
                raise TapeError(f"{self.path}: another process has held the tape for {_BUSY_MS // 1000} s") from error
            if isinstance(error, sqlite3.OperationalError):
                raise TapeError(f"{self.path}: the tape cannot be used: {reason}") from error
            raise TapeError(f"{self.path}: not a tape, or damaged: {reason}; take a copy of the tape") from error
        except OSError as error:
            raise TapeError(f"{self.path}: {error.strerror}") from error

    def _check(self, row: tuple[Any, ...]) -> None:
        if _hash(*row[:6]) != row[6]:
            raise TapeError(f"{self.path}: the record {row[0][:12]} of {row[1]} is damaged; take a copy of the tape")

    def _checked_failure(self, row: tuple[Any, ...]) -> Failure:
        if _hash(*map(repr, row[:5])) != row[5]:
            raise TapeError(f"{self.path}: the failure of {row[0]}, call {row[1]}, is damaged; take a copy of the tape")
        return Failure(*row[:5])

    def _decoded(self, row: tuple[Any, ...]) -> Observation:
        self._check(row)
        return decode(row[5])


def _words(arguments: str) -> set[str]:
    """The words of the values; the names of arguments are the same in every call of a tool."""
    values = canonical(list(json.loads(arguments).values()))
    return set("".join(c if c.isalnum() else " " for c in values.lower()).split())
