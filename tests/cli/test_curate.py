"""`spadework curate` from the outside: what is kept, what is said, and bad input as one line."""

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spadework.core.progress import Progress
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.statements import WorldGraph
from spadework.tasks.dataset import read_tasks, write_tasks


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = WorldGraph(build_world(WorldConfig(seed=1, pages=1_000)))
    first, *rest = tasks(makers.build("webshaper"), graph, seed=0, n=12)
    wrong = first.model_copy(update={"id": "wrong", "answers": ("Nobody",)})
    path = tmp_path_factory.mktemp("curate") / "tasks.jsonl"
    write_tasks([first, *rest, wrong, rest[0].model_copy(update={"id": "again"})], path)
    return path


def test_what_passes_is_kept_and_the_rest_has_its_reason(made: Path, tmp_path: Path, spadework) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    arguments = ["curate", made, "--world", 1, "--pages", 1000, "--gate", "schema", "--gate", "uniqueness", "--gate", "near-duplicates"]
    code, out, err = spadework(*arguments, "--out", good, "--dropped", bad, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "out": str(good),
        "n": 14,
        "kept": 12,
        "dropped": 2,
        "undecided": 0,
        "dropped_by": {"uniqueness": 1, "near-duplicates": 1},
    }
    assert [[verdict[:2] for verdict in task.meta["ledger"]["gates"]] for task in read_tasks(good)] == [
        [["schema", True], ["uniqueness", True], ["near-duplicates", True]]
    ] * 12
    assert {task.id: task.meta["ledger"]["gates"][-1][2] for task in read_tasks(bad)} == {
        "wrong": "the graph gives another answer",
        "again": "an earlier question is 1.00 alike and has the same names",
    }


def test_settings_of_gates(made: Path, tmp_path: Path, spadework) -> None:
    arguments = ["curate", made, f"contamination.against=[{made}]", "--gate", "contamination", "--out", tmp_path / "out.jsonl"]
    code, out, _ = spadework(*arguments)
    assert (code, out) == (0, f"contamination: 14 dropped\n0 of 14 tasks -> {tmp_path / 'out.jsonl'}\n")


def test_the_gates_are_listed(spadework) -> None:
    code, out, _ = spadework("curate", "--list", "--json")
    assert code == 0 and "uniqueness" in json.loads(out)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--gate", "uniquness", "--world", 1], "unknown gate 'uniquness'; did you mean 'uniqueness'"),
        (["--gate", "uniqueness"], "gate 'uniqueness' needs graph; give the world or corpus"),
        (["--gate", "uniqueness", "--world", 2, "--pages", 1000], "and the graph is world:"),
        (["--gate", "schema", "--gate", "schema", "--world", 1], "--gate schema is given twice"),
        (["--gate", "schema", "shortcut.edges=false"], "setting 'shortcut': the gate is not asked"),
        (["--gate", "shortcut", "shortcut.edge=false"], "unknown key 'edge'; did you mean 'edges'"),
        (["--gate", "contamination"], "'against' is missing"),
        (["--gate", "schema", "--world", 1, "--corpus", "x"], "name one origin of the tasks"),
        ([], "name a file of tasks, at least one --gate"),
    ],
)
def test_bad_input_is_one_line(made: Path, tmp_path: Path, spadework, more: list[object], message: str) -> None:
    code, _, err = spadework("curate", made, *more, "--out", tmp_path / "out.jsonl")
    assert code == 2 and err.count("\n") == 1 and message in err, err
    assert not (tmp_path / "out.jsonl").exists()


ROW = ("--world", 1, "--pages", 1000, "--gate", "schema", "--gate", "near-duplicates", "--gate", "uniqueness")


@pytest.mark.parametrize("stops", [(1,), (5, 13), (14,)])
def test_stopped_anywhere_it_ends_as_if_it_had_not_been(
    made: Path, tmp_path: Path, spadework, monkeypatch: pytest.MonkeyPatch, stops: tuple[int, ...]
) -> None:
    """`wrong` and `again` repeat earlier questions: they are known for it only if the gate is told what it has seen before the stop."""
    whole, parts = (tmp_path / name for name in ("whole", "parts"))
    code, said, _ = spadework("curate", made, *ROW, "--out", whole / "good.jsonl", "--dropped", whole / "bad.jsonl")
    assert code == 0 and "near-duplicates: 2 dropped" in said
    left, advance = list(stops), Progress.advance

    def stop(self: Progress, count: int = 1, note: str = "") -> None:
        advance(self, count, note)
        if left and self.done == left[0]:
            left.pop(0)
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "advance", stop)
    arguments = ["curate", made, *ROW, "--out", parts / "good.jsonl", "--dropped", parts / "bad.jsonl"]
    for _ in stops:
        code, _, err = spadework(*arguments, "--resume")
        assert code == 130 and "continue with: spadework curate" in err
        assert [path.name for path in parts.iterdir()] == ["good.curation.jsonl"]
    with (parts / "good.curation.jsonl").open("a") as file:
        file.write('{"fate": "ke')  # what a kill in the middle of a write leaves
    code, _, err = spadework(*arguments)
    assert code == 2 and "add --resume to go on with it" in err
    assert spadework(*arguments, "--resume", "near-duplicates.threshold=0.5")[2].count("gates.near-duplicates.threshold") == 1
    code, out, _ = spadework(*arguments, "--resume")
    assert code == 0 and out == said.replace(str(whole), str(parts))
    assert {path.name: path.read_bytes() for path in parts.iterdir()} == {path.name: path.read_bytes() for path in whole.iterdir()}


def test_a_killed_process_and_a_full_disk_leave_a_journal(made: Path, tmp_path: Path, spadework) -> None:
    many = tmp_path / "many.jsonl"
    lines = made.read_text().splitlines(keepends=True)[:12]
    many.write_text("".join(line.replace('"id":"', f'"id":"{copy}-') for copy in range(250) for line in lines))
    out, journal = tmp_path / "good.jsonl", tmp_path / "good.curation.jsonl"
    gates = ("--gate", "time-sensitive", "--gate", "near-duplicates")
    command = [sys.executable, "-c", "from spadework.cli.main import main; main()", "curate", str(many), *gates, "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 240
        while not journal.exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
    size = journal.stat().st_size
    assert not out.exists() and size

    def no_more() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, size + 100_000))

    full = subprocess.run([*command, "--resume"], preexec_fn=no_more, capture_output=True, text=True, check=False)
    assert full.returncode == 2 and "file-size limit" in full.stderr and "--resume" in full.stderr and full.stderr.count("\n") == 1
    assert size <= journal.stat().st_size <= size + 100_000
    assert spadework("curate", many, *gates, "--out", out, "--resume")[0] == 0
    assert spadework("curate", many, *gates, "--out", tmp_path / "whole.jsonl")[0] == 0
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes() and not journal.exists()
