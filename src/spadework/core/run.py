"""A run: one folder with everything that happened.

    recipe.yaml         the resolved recipe
    manifest.json       versions, machine, seeds, hashes of the data
    events.jsonl        one line per step: stage, step, metrics
    trajectories/       what the agents did
    checkpoints/        STAGE-STEP/ in the Hugging Face layout, with the trainer's state beside it
    summary.json        the result, written last

Invariant: a folder is never half a run. `manifest.json` is written when the folder is ready, `summary.json` and checkpoints appear whole
or not at all, and a run is not written over: it is resumed with the same recipe, or another folder is named.
"""

import fcntl
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import yaml

from spadework.core.config import load_yaml
from spadework.core.errors import ConfigError, InputError
from spadework.core.events import append_event, disk_errors, read_events, read_json, rewind_events, write_atomic, write_json

__all__ = ["Run", "first_difference", "peak_rss_bytes"]

_LAYOUT = {
    "recipe.yaml",
    "manifest.json",
    "events.jsonl",
    "trajectories",
    "checkpoints",
    "summary.json",
    "report.html",
    "evals",
    "tokenizer",
    "tape",
    "tape-wal",
    "tape-shm",
    "spent.jsonl",
    "pass_rates.jsonl",
}

_MAY_CHANGE = {"tools.gateway.run_budget"}
"""Keys of a recipe that decide how far a run goes and nothing of what it finds, so a resumed run may have others."""


class Run:
    """A run folder. Make one with `create`, read one with `open`."""

    def __init__(self, path: Path, recipe: dict[str, Any], manifest: dict[str, Any]) -> None:
        """Wrap a folder that exists; use `create` or `open`."""
        self.path = path
        self.recipe = recipe
        self.manifest = manifest

    @classmethod
    def create(
        cls,
        path: Path,
        recipe: Mapping[str, Any],
        *,
        seeds: Mapping[str, int] | None = None,
        hashes: Mapping[str, str] | None = None,
        resume: bool = False,
    ) -> Self:
        """Start a run in a new or empty folder, or go on with the one that is there.

        Args:
            path: the folder; parents are made.
            recipe: the resolved recipe as plain values.
            seeds: seeds by what they are for.
            hashes: names of the data by content, for example of the world and the corpus.
            resume: go on with the run in this folder; a folder without one starts afresh.

        Raises:
            InputError: the folder holds a run and `resume` is off, holds something else, or cannot be written.
            ConfigError: the run to resume has another recipe; the message names the first key that differs.
        """
        cls.check(path, recipe, resume)
        if (path / "manifest.json").exists():
            run = cls.open(path)
            wanted = yaml.safe_load(yaml.safe_dump(dict(recipe)))
            if run.recipe != wanted:
                write_atomic(path / "recipe.yaml", yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True))
                run.recipe = wanted
            return run
        with disk_errors(path):
            for folder in ("trajectories", "checkpoints"):
                (path / folder).mkdir(parents=True, exist_ok=True)
        write_atomic(path / "recipe.yaml", yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True))
        # A start that was killed before its manifest may have left events behind: a fresh run has none.
        write_atomic(path / "events.jsonl", "")
        manifest = _facts() | {"seeds": dict(seeds or {}), "hashes": dict(hashes or {})}
        write_json(path / "manifest.json", manifest)
        return cls(path, load_yaml(path / "recipe.yaml"), manifest)

    @classmethod
    def check(cls, path: Path, recipe: Mapping[str, Any], resume: bool = False) -> None:
        """Refuse a folder that `create` would refuse; ask before long work whose result would go there.

        Raises:
            InputError, ConfigError: as `create`.
        """
        if (path / "manifest.json").exists():
            if not resume:
                raise InputError(f"{path} already holds a run; add --resume to go on with it, or name another --out")
            # Through YAML and back, so that tuples and lists compare equal.
            wanted = yaml.safe_load(yaml.safe_dump(dict(recipe)))
            if key := first_difference(cls.open(path).recipe, wanted):
                raise ConfigError(
                    f"{path} was started with another recipe ('{key}' differs); resume with the same one, or name another --out"
                )
        elif path.is_dir():
            if other := sorted({entry.name for entry in path.iterdir()} - _LAYOUT):
                raise InputError(f"{path} is not empty and not a run (it holds '{other[0]}'); name another --out")
        elif path.exists():
            raise InputError(f"{path} is a file; name a folder as --out")

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the run in a folder.

        Raises:
            InputError: there is no run in it.
        """
        if not (path / "manifest.json").is_file():
            raise InputError(f"{path} is not a run folder: it has no manifest.json")
        return cls(path, load_yaml(path / "recipe.yaml"), read_json(path / "manifest.json"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Write this run alone; a process that ends, however it ends, gives the folder free.

        Raises:
            InputError: another process is writing it.
        """
        folder = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.path} is being written by another process; wait for it, or name another --out") from None
            yield
        finally:
            os.close(folder)

    def event(self, stage: str, step: int, **metrics: Any) -> None:
        """Append one event and flush it.

        Args:
            stage: for example `reading`, `sft`, `rl`.
            step: counted from 1 within the stage.
            metrics: numbers by name; a number that is not finite is written as null.

        Raises:
            InputError: the disk is full.
        """
        append_event(self.path / "events.jsonl", {"stage": stage, "step": step, **metrics})

    def events(self, stage: str | None = None) -> list[dict[str, Any]]:
        """The events so far, oldest first, of one stage or of all."""
        return [event for event in read_events(self.path / "events.jsonl") if stage is None or event["stage"] == stage]

    def rewind(self, stage: str, step: int) -> None:
        """Forget the events after a step, before a resumed run repeats them (see `rewind_events`)."""
        rewind_events(self.path / "events.jsonl", stage, step)

    def note(self, **facts: Any) -> None:
        """Add facts to the manifest that were not known at the start, for example the hash of the world that was generated."""
        self.manifest = self.manifest | facts
        write_json(self.path / "manifest.json", self.manifest)

    @contextmanager
    def checkpoint(self, stage: str, step: int) -> Iterator[Path]:
        """A folder to write a checkpoint into. It appears under its name only when the block ends without an error.

        Raises:
            InputError: the disk is full. An earlier checkpoint of the same step is still there.
        """
        target = self.path / "checkpoints" / f"{stage}-{step:06d}"
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with disk_errors(target):
            try:
                partial.mkdir(parents=True)
                yield partial
                _sync(partial)
                if target.exists():
                    shutil.rmtree(target)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def checkpoints(self, stage: str) -> list[tuple[int, Path]]:
        """Step and folder of every complete checkpoint of a stage, oldest first."""
        found = []
        for folder in (self.path / "checkpoints").glob(f"{stage}-*"):
            _, _, step = folder.name.rpartition("-")
            if folder.name == f"{stage}-{step}" and step.isdigit():
                found.append((int(step), folder))
        return sorted(found)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`, the last file of a run."""
        write_json(self.path / "summary.json", summary)

    def summary(self) -> dict[str, Any] | None:
        """The result; None while the run is not finished."""
        path = self.path / "summary.json"
        return read_json(path) if path.is_file() else None


def peak_rss_bytes() -> int:
    """The most memory that this process has had resident, in bytes.

    On Linux `getrusage` would count the parent's memory from before the exec, so the kernel's own high-water mark is read instead.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _facts() -> dict[str, Any]:
    """What a reader needs to repeat the run: versions, machine, commit."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in ("spadework", "torch", "transformers")}},
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "commit": _commit(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The git commit of this source tree; None for an installed wheel."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    answer = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def first_difference(old: Any, new: Any, at: str = "") -> str | None:
    """Dotted key of the first value in which two nested mappings differ; None if they agree."""
    if at in _MAY_CHANGE:
        return None
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            if found := first_difference(old.get(key), new.get(key), f"{at}.{key}" if at else str(key)):
                return found
        return None
    return None if old == new else at or "recipe"


def _sync(folder: Path) -> None:
    """Bring every file of a folder to the disk before it gets its name."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
