"""`spadework curate` from the outside: what is kept, what is said, and bad input as one line."""

import json
from pathlib import Path

import pytest

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
