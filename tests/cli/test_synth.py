"""`spadework synth` from the outside."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.ledger import rederive
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.statements import WorldGraph
from spadework.tasks.dataset import read_tasks

SMALL = ("synth", "--maker", "webshaper", "--world", "4", "--pages", "1000")


def test_the_makers_are_listed(spadework) -> None:
    code, out, _ = spadework("synth", "--list")
    assert code == 0 and all(name in out for name in makers.names()) and "WebSailor, 2507.02592" in out
    rows = {row["name"]: row for row in json.loads(spadework("synth", "--list", "--json")[1])}
    assert rows["webshaper"]["settings"]["union"] == {"default": "0.2", "description": "Probability of merging a constant."}


def test_the_file_is_the_same_whatever_the_processes_and_the_stops(tmp_path: Path, spadework) -> None:
    one, many, parts = (tmp_path / name for name in ("one.jsonl", "many.jsonl", "parts.jsonl"))
    code, out, _ = spadework(*SMALL, "--n", "70", "--out", one, "--json", "union=1")
    made = json.loads(out)
    assert code == 0 and (made["n"], made["new"]) == (70, 70) and made["source"].startswith("world:")
    assert spadework(*SMALL, "--n", "70", "--out", many, "--workers", "2", "union=1")[0] == 0
    assert spadework(*SMALL, "--n", "20", "--out", parts, "union=1")[0] == 0
    with parts.open("a") as file:
        file.write('{"id": "torn')  # what a kill in the middle of a write leaves
    code, out, _ = spadework(*SMALL, "--n", "70", "--out", parts, "--resume", "--json", "union=1")
    assert (code, json.loads(out)["new"]) == (0, 50)
    assert one.read_bytes() == many.read_bytes() == parts.read_bytes()
    code, out, _ = spadework(*SMALL, "--n", "70", "--out", parts, "--resume", "union=1")
    assert code == 0 and "all of them before" in out and one.read_bytes() == parts.read_bytes()
    # The library draws the same tasks; the command adds where the statements stand.
    graph = WorldGraph(build_world(WorldConfig(seed=4, pages=1_000)))
    drawn = list(tasks(makers.build("webshaper", {"union": 1}), graph, seed=0, n=70))
    for task, plain in zip(read_tasks(one), drawn, strict=True):
        assert task.question == plain.question and rederive(task) == task.answers
        assert all(start >= 0 for *_, start, _ in task.meta["ledger"]["statements"])


def test_ctrl_c_keeps_what_there_is(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    code = "from spadework.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *SMALL, "--n", "1000000", "--out", str(file)], stderr=subprocess.PIPE, text=True
    ) as run:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "continue with: spadework synth" in err and "Traceback" not in err
    assert file.read_bytes().endswith(b"\n") and read_tasks(file)


def test_only_the_same_batch_goes_on(tmp_path: Path, spadework) -> None:
    file = tmp_path / "t.jsonl"
    assert spadework(*SMALL, "--n", "3", "--out", file)[0] == 0
    for more, message in (
        ([], "is there already; add --resume"),
        (["--resume", "--seed", "1"], "was made with other settings: seed"),
        (["--resume", "union=1"], "was made with other settings: options.union"),
        (["--resume", "world.stale_rate=0"], "was made with other settings: graph"),
    ):
        code, out, err = spadework(*SMALL, "--n", "3", "--out", file, *more)
        assert (code, out, err.count("\n")) == (2, "", 1) and message in err
    (tmp_path / "t.manifest.json").unlink()
    assert "t.manifest.json is missing" in spadework(*SMALL, "--n", "3", "--out", file, "--resume")[2]
    assert spadework(*SMALL, "--n", "3", "--out", tmp_path / "new.jsonl", "--resume")[0] == 0


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["Ada Moon lived alone in a town by the sea."], "has no links between its pages"),
        (["She knew nobody in the whole of this town.", "He knew nobody in the whole of this town."], "has no links between its pages"),
        (["Ada Moon was for years a friend of [Gone Away](gone) there.", "x"], "has no links between its pages"),
    ],
)
def test_a_corpus_that_gives_nothing(texts: list[str], message: str, tmp_path: Path, spadework) -> None:
    names = ("Ada Moon", "Cy Sand")
    rows = [{"id": names[i], "title": names[i], "text": text, "links": ["nowhere"]} for i, text in enumerate(texts)]
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert spadework("corpus", "build", tmp_path / "pages.jsonl", "--out", tmp_path / "corpus")[0] == 0
    code, _, err = spadework("synth", "--maker", "sailorfog", "--corpus", tmp_path / "corpus", "--out", tmp_path / "t.jsonl")
    assert code == 2 and message in err and not (tmp_path / "t.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a maker and a file: --maker NAME --out FILE"),
        (["--maker", "sailorfig", "--world", "1", "--out", "t.jsonl"], "unknown maker 'sailorfig'; did you mean 'sailorfog'?"),
        (["--maker", "sailorfog", "--world", "1", "--out", "t.jsonl", "jmp=1"], "unknown key 'jmp'; did you mean 'jump'?"),
        (["--maker", "sailorfog", "--out", "t.jsonl"], "name one source of tasks: --corpus DIR or --world SEED"),
        (["--maker", "sailorfog", "--corpus", "no", "--out", "t.jsonl"], "no: not a corpus folder"),
        (
            ["--maker", "sailorfog", "--corpus", "no", "--out", "t.jsonl", "world.stale_rate=0"],
            "'world.stale_rate' is a setting of a world",
        ),
        (["--maker", "sailorfog", "--world", "1", "--out", "t.parquet"], "tasks are written to .jsonl files"),
    ],
)
def test_wrong_input(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spadework) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = spadework("synth", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err
    assert list(tmp_path.iterdir()) == []


def test_a_task_is_shown_counted_checked_and_exported(tmp_path: Path, spadework) -> None:
    file = tmp_path / "t.jsonl"
    assert spadework(*SMALL, "--n", "5", "--out", file)[0] == 0
    made = read_tasks(file)
    code, out, _ = spadework("tasks", "stats", file)
    assert code == 0 and "webshaper 5" in out
    assert json.loads(spadework("tasks", "stats", file, "--json")[1])["n"] == 5
    code, out, _ = spadework("tasks", "show", file, made[3].id)
    assert code == 0 and made[3].question in out
    # The source is known from the manifest, and may be named.
    for source in ([], ["--world", "4", "--pages", "1000"]):
        assert spadework("tasks", "show", file, "--out", tmp_path / "page.html", *source)[0] == 0
        assert "<mark>" in (tmp_path / "page.html").read_text()
        assert spadework("tasks", "validate", file, *source) == (0, "5 of 5 tasks are sound\n", "")
    code, out, _ = spadework("tasks", "validate", file, "--world", "5", "--pages", "1000")
    assert code == 1 and "is not in the corpus" in out
    assert spadework("tasks", "export", file, "--to", "trl", "--out", tmp_path / "trl.jsonl")[0] == 0
    for arguments, message in (
        (["show", file, made[3].id[:-1]], f"did you mean '{made[3].id}'?"),
        (["export", file, "--to", "verl", "--out", tmp_path / "x.jsonl"], "is written to .parquet files"),
        (["validate", file, "--world", "4", "--corpus", "x"], "name one source of tasks"),
    ):
        code, _, err = spadework("tasks", *arguments)
        assert (code, err.count("\n")) == (2, 1) and message in err
