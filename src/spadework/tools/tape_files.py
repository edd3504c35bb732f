"""Tapes as files to hand on, and what differs between two.

An exported tape is one gzip file of JSON lines: the manifest with the hash of the contents first, then the records in the order of their
keys, then the failures. Equal contents give equal bytes. A file that is cut or changed is refused as a whole.
"""

import gzip
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spadework.core.events import disk_errors
from spadework.tools.tape import SCHEMA, Entry, Failure, Tape, TapeError, canonical, manifest_of

__all__ = ["diff_tapes", "export_tape", "import_tape", "merge_tapes", "verify_tape"]


def export_tape(tape: Tape, out: Path) -> dict[str, Any]:
    """Write a tape as one file and return its manifest.

    Raises:
        InputError: a record is damaged, or the disk is full; the file is then not there.
    """
    manifest = tape.manifest()
    partial = out.with_name(f".{out.name}.partial")
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            # No name and no time in the header, so that equal contents are equal bytes.
            with partial.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
                file.write(f"{canonical(manifest)}\n".encode())
                parts: tuple[Iterable[Entry] | Iterable[Failure], ...] = (tape.entries(), tape.failures())
                for records in parts:
                    file.writelines(f"{canonical(asdict(record))}\n".encode() for record in records)
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.replace(out)
        finally:
            partial.unlink(missing_ok=True)
    return manifest


def import_tape(path: Path, tape: Tape) -> dict[str, Any]:
    """Add an exported file to a tape, all of it or nothing, and return its manifest with the number of `new` calls.

    Raises:
        TapeError: the file is no exported tape, of another schema version, cut or changed, or contradicts the tape.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            manifest = json.loads(file.readline())
            if not isinstance(manifest, dict) or "hash" not in manifest:
                raise TapeError(f"{path} is not an exported tape")
            if manifest.get("schema") != SCHEMA:
                raise TapeError(f"{path}: schema version {manifest.get('schema')} is unknown; this version of spadework reads {SCHEMA}")
            records = [json.loads(line) for line in file]
        entries = [Entry(**record) for record in records if "key" in record]
        failures = [Failure(**record) for record in records if "key" not in record]
    except FileNotFoundError:
        raise TapeError(f"{path}: no such file") from None
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise TapeError(f"{path} is not an exported tape, or cut off: {' '.join(str(error).split())}") from error
    if (found := manifest_of(entries, failures)["hash"]) != manifest["hash"] or not all(entry.matches() for entry in entries):
        raise TapeError(f"{path}: its contents have the hash {found[:12]}, its manifest says {manifest['hash'][:12]}; fetch it again")
    return manifest | {"new": tape.add(entries, failures)}


def merge_tapes(target: Tape, sources: list[Tape]) -> int:
    """Add the records of other tapes and return how many calls are new.

    Raises:
        TapeError: two tapes have different observations of one call; the sources before it have been added.
    """
    return sum(target.add(source.entries(), source.failures()) for source in sources)


def diff_tapes(first: Tape, second: Tape) -> dict[str, Any]:
    """Calls that only one of two tapes has, and calls with different observations, as `TOOL(ARGUMENTS)`."""
    left = {entry.key: entry for entry in first.entries()}
    right = {entry.key: entry for entry in second.entries()}

    def names(keys: set[str]) -> list[str]:
        return sorted(f"{entry.tool}({entry.arguments})" for entry in (left.get(key) or right[key] for key in keys))

    changed = {key for key in left.keys() & right.keys() if left[key].observation != right[key].observation}
    return {
        "equal": len(left.keys() & right.keys()) - len(changed),
        "changed": names(changed),
        "only_first": names(left.keys() - right.keys()),
        "only_second": names(right.keys() - left.keys()),
        "failures": [sum(1 for _ in tape.failures()) for tape in (first, second)],
    }


def verify_tape(tape: Tape) -> dict[str, Any]:
    """The manifest of a tape whose every record has its checksum and the key of its content.

    Raises:
        TapeError: the file or a record is damaged.
    """
    tape.check_file()
    for entry in tape.entries():
        if not entry.matches():
            raise TapeError(f"{tape.path}: the record {entry.key[:12]} of {entry.tool} does not stand under the key of its call")
    return tape.manifest()
