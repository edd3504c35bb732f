"""A run from the command line: its result, its page, the command that repeats it, and what its agent can be asked afterwards."""

import json
from pathlib import Path

SETTINGS = [
    "data.train.pages=1000", "data.test.pages=1000", "reading=null", "rl=null", "threads=1",
    "sft.steps=1", "sft.batch_size=1", "sft.demonstrations=2", "eval.tasks_per_hop=2", "eval.max_tokens=4",
]  # fmt: skip


def test_a_run_from_its_command_to_its_answers(tmp_path: Path, spadework) -> None:
    out = tmp_path / "a run"
    code, printed, _ = spadework("sft", "demo", "--out", out, "--json", *SETTINGS)
    summary = json.loads(printed)
    assert code == 0
    assert set(summary["stages"]) == {"sft"}
    command = json.loads((out / "manifest.json").read_text())["command"]
    assert command == f"spadework sft demo --out '{out}' --json {' '.join(SETTINGS)}"
    assert "spadework sft demo --out" in (out / "report.html").read_text()

    # The evaluation of the finished run is that of the run itself.
    code, printed, _ = spadework("eval", out, "--json")
    again = json.loads(printed)
    assert code == 0
    assert again["success_by_hops"] == summary["stages"]["sft"]["success_by_hops"]
    code, printed, _ = spadework("eval", "compare", out, out, "--stage", "sft", "--json")
    assert code == 0
    assert json.loads(printed)["differences"]["success"]["mean"] == 0

    # Four tokens are no answer: that is said, with exit code 1.
    question = "What is Ondal Brin's capital?"
    code, printed, _ = spadework("ask", out, question, "--json")
    answer = json.loads(printed)
    assert (code, answer["answer"]) == (1, None)
    assert answer["error"]

    code, _, error = spadework("sft", "demo", "--out", out, *SETTINGS)
    assert code == 2
    assert "already holds a run" in error
    code, _, error = spadework("sft", "demo", "--out", out, "--resume", *SETTINGS, "sft.steps=2")
    assert code == 2
    assert "'sft.steps' differs" in error
