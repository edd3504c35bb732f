"""A run from the command line: its result, its page, and the command that repeats it."""

import json
from pathlib import Path


def test_a_run_remembers_its_command(tmp_path: Path, spadework) -> None:
    out = tmp_path / "a run"
    settings = [
        "data.train.pages=1000", "data.test.pages=1000", "reading=null", "rl=null", "threads=1",
        "sft.steps=1", "sft.batch_size=1", "sft.demonstrations=2", "eval.tasks_per_hop=2", "eval.max_tokens=4",
    ]  # fmt: skip
    code, printed, _ = spadework("sft", "demo", "--out", out, "--json", *settings)
    assert code == 0
    assert set(json.loads(printed)["stages"]) == {"sft"}
    command = json.loads((out / "manifest.json").read_text())["command"]
    assert command == f"spadework sft demo --out '{out}' --json {' '.join(settings)}"
    assert "spadework sft demo --out" in (out / "report.html").read_text()
