"""What the viewer knows about a run: the run folder, read once, with every missing piece named instead of invented.

Reads `manifest.json`, `recipe.yaml`, `events.jsonl`, `summary.json` and `trajectories/*.jsonl`. A run that is still going, has no RL stage
or kept no trajectories is still a run; a folder without a manifest is not. Nothing is computed from weights, and nothing is written.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spadework.core.errors import InputError
from spadework.core.run import Run
from spadework.rewards.matching import em
from spadework.tasks.task import Task
from spadework.trajectories.store import read_records
from spadework.trajectories.tree import Trajectory

__all__ = ["STAGES", "Attempt", "Contents", "read_attempts", "read_contents", "vocabulary"]

STAGES = ("reading", "sft", "rl")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One trajectory and the task it is for."""

    task: Task
    trajectory: Trajectory

    @property
    def solved(self) -> bool:
        """Right or wrong, by the rule of the report card: exact match with a gold answer in SQuAD's normal form."""
        return self.trajectory.answer is not None and em(self.trajectory.answer, self.task.answers) == 1.0

    @property
    def calls(self) -> int:
        """Tool calls that were made."""
        if "calls" in self.trajectory.ledger:
            return round(self.trajectory.ledger["calls"])
        return sum(len(node.meta.get("calls", ())) for node in self.trajectory.nodes)


@dataclass(frozen=True, slots=True)
class Contents:
    """A run folder in memory."""

    name: str
    recipe: dict[str, Any]
    manifest: dict[str, Any]
    summary: dict[str, Any]
    events: list[dict[str, Any]]
    evaluations: dict[str, list[Attempt]]
    """Trajectories on the held-out tasks, by stage, in the order of `STAGES`."""
    training: list[Attempt]
    """The groups of the last RL step, with advantages."""
    gaps: list[str] = field(default_factory=list)
    """What is not in the folder, one sentence each."""

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """Results by stage, in the order of `STAGES`; stages that were not run are absent."""
        stages = self.summary.get("stages") or {}
        return {stage: stages[stage] for stage in STAGES if isinstance(stages.get(stage), Mapping)}


def read_contents(path: Path) -> Contents:
    """Read a run folder.

    Raises:
        InputError: it is not a run folder, or a line in it cannot be read.
    """
    run = Run.open(path)
    gaps = []
    summary = run.summary()
    if summary is None:
        gaps.append("The run has no summary.json: it is not finished, so there are no results yet.")
    evaluations = {}
    for stage in STAGES:
        file = path / "trajectories" / f"eval-{stage}.jsonl"
        if file.is_file() and (attempts := read_attempts(file)):
            evaluations[stage] = attempts
    last = path / "trajectories" / "rl-last.jsonl"
    events = run.events()
    if not events:
        gaps.append("The run has no events, so there are no learning curves.")
    name = (summary or {}).get("name") or path.resolve().name
    return Contents(
        name=str(name),
        recipe=run.recipe,
        manifest=run.manifest,
        summary=summary or {},
        events=events,
        evaluations=evaluations,
        training=read_attempts(last) if last.is_file() else [],
        gaps=gaps,
    )


def read_attempts(path: Path) -> list[Attempt]:
    """Read a file of trajectories with their tasks.

    Raises:
        InputError: a line is not a trajectory, or its task is not one; the message names the file and the line or the task.
    """
    attempts = []
    for record in read_records(path):
        try:
            attempts.append(Attempt(Task.model_validate(record.task), record.trajectory))
        except ValidationError as error:
            reason = " ".join(str(error.errors()[0]["msg"]).split())
            raise InputError(f"{path}: trajectory of '{record.trajectory.task_id}' has no valid task: {reason}") from None
    return attempts


def vocabulary(path: Path) -> Callable[[int], str]:
    """Token texts of a run, read from the `tokenizer.json` of a checkpoint, without a tokenizer library.

    Byte-level tokens are decoded; a token that is part of a character shows the replacement character. Without a file, and for ids outside
    of it, the text is the id in brackets.
    """
    files = sorted((path / "checkpoints").glob("*/tokenizer.json"))
    texts: dict[int, str] = {}
    if files:
        content = json.loads(files[-1].read_text(encoding="utf-8"))
        vocab = (content.get("model") or {}).get("vocab") or {}
        pairs = vocab.items() if isinstance(vocab, dict) else ((entry[0], number) for number, entry in enumerate(vocab))
        texts = {number: _from_bytes(text) for text, number in pairs}
        texts |= {token["id"]: token["content"] for token in content.get("added_tokens") or ()}
    return lambda token: texts.get(token, f"[{token}]")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character for every byte, inverted: printable bytes stand for themselves, the others follow from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(256 + offset): byte for offset, byte in enumerate(others)}


_BYTES = _byte_alphabet()


def _from_bytes(text: str) -> str:
    if any(character not in _BYTES for character in text):
        return text
    return bytes(_BYTES[character] for character in text).decode("utf-8", errors="replace")
