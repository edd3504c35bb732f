"""`spadework tools` and `spadework tape` from the outside, and runs that record, replay and run out of money."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spadework.tools.tape import Entry, Tape, call_key, encode
from spadework.tools.tool import Observation

Command = Callable[..., tuple[int, str, str]]

SETTINGS = [
    "data.train.pages=1000", "data.test.pages=1000", "reading=null", "rl=null", "threads=1",
    "sft.steps=1", "sft.batch_size=1", "sft.demonstrations=6", "eval.tasks_per_hop=2", "eval.max_tokens=4",
]  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path, spadework: Command) -> Path:
    row = {"id": "a", "title": "Velor Tash", "text": "Velor Tash is the mayor of Kedun."}
    (tmp_path / "pages.jsonl").write_text(json.dumps(row) + "\n")
    assert spadework("corpus", "build", tmp_path / "pages.jsonl", "--out", tmp_path / "corpus")[0] == 0
    return tmp_path / "corpus"


def tape(path: Path, *queries: str, text: str = "found") -> Path:
    with Tape(path) as opened:
        for query in queries:
            arguments = f'{{"query":"{query}"}}'
            opened.put(Entry(call_key("search", "1", arguments), "search", "1", arguments, "", encode(Observation(text))))
    return path


def test_tools_are_listed_with_their_options(spadework: Command) -> None:
    code, out, _ = spadework("tools", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and {"search", "read"} <= rows.keys()
    assert rows["search"]["options"]["limit"] == "Number of results."
    assert all(row["description"] for row in rows.values())
    assert "search" in spadework("tools", "list")[1]


def test_a_tool_is_called_as_an_agent_would(corpus: Path, spadework: Command) -> None:
    code, out, _ = spadework("tools", "call", "search", "--corpus", corpus, "--args", '{"query": "mayor"}', "--json")
    result = json.loads(out)
    assert (code, result["status"], result["documents"]) == (0, "ok", ["a"])
    assert result["observation"] == "Velor Tash is the mayor of Kedun."
    assert (result["ledger"]["calls/search"], result["ledger"]["errors"]) == (1, 0)
    code, out, _ = spadework("tools", "call", "search", "--corpus", corpus, "--args", '{"query": 3}', "--json")
    assert (code, json.loads(out)["status"]) == (0, "error")
    code, out, _ = spadework("tools", "call", "search", "faults.not_found=1", "--corpus", corpus, "--args", '{"query": "mayor"}', "--json")
    assert json.loads(out)["meta"] == {"fault": "not_found"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serch"], "tools: unknown tool 'serch'; did you mean 'search'?"),
        (["search"], "tool 'search' needs a corpus; name one with --corpus DIR"),
        (["search", "limmit=3"], "unknown key 'limmit'; did you mean 'limit'?"),
        (["search", "gateway.timeot=3"], "gateway: unknown key 'timeot'; did you mean 'timeout'?"),
        (["search/find", "--corpus", "CORPUS"], "search has the tools search; name one as search/search"),
        (["search", "--corpus", "CORPUS", "--args", "[1]"], "--args: expected a JSON object, found [1]"),
        (["search", "--corpus", "CORPUS", "--args", "{"], "--args: not JSON"),
        (
            ["search", "gateway.per_tool={search: {timeout: 3}}", "--corpus", "CORPUS"],
            "'timeout' has no effect, because search runs in place",
        ),
    ],
)
def test_wrong_calls_are_one_line(corpus: Path, spadework: Command, arguments: list[str], message: str) -> None:
    code, out, error = spadework("tools", "call", *[str(corpus) if argument == "CORPUS" else argument for argument in arguments])
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert message in error


def test_a_tape_is_shown_checked_compared_and_handed_on(tmp_path: Path, spadework: Command) -> None:
    one, two = tape(tmp_path / "one", "a", "b"), tape(tmp_path / "two", "b", "c")
    code, out, _ = spadework("tape", "show", one, "--contains", '"a"', "--json")
    shown = json.loads(out)
    assert (code, shown["manifest"]["calls"], len(shown["calls"])) == (0, 2, 1)
    assert shown["calls"][0]["observation"]["text"] == "found"
    assert 'search({"query":"b"}) ok: found' in spadework("tape", "show", one)[1]
    assert spadework("tape", "verify", one)[1].endswith("\nsound\n")
    code, out, _ = spadework("tape", "diff", one, two)
    assert code == 1
    assert out.splitlines()[:2] == ['- search({"query":"a"})', '+ search({"query":"c"})']
    assert spadework("tape", "diff", one, one)[0] == 0
    code, out, _ = spadework("tape", "merge", one, two, "--out", tmp_path / "all", "--json")
    assert (code, json.loads(out)["new"]) == (0, 3)
    assert spadework("tape", "export", tmp_path / "all", "--out", tmp_path / "all.gz")[0] == 0
    code, out, _ = spadework("tape", "import", tmp_path / "all.gz", "--out", tmp_path / "again", "--json")
    assert (code, json.loads(out)["new"]) == (0, 3)
    assert spadework("tape", "diff", tmp_path / "all", tmp_path / "again")[0] == 0


def test_wrong_tapes_are_one_line(tmp_path: Path, spadework: Command) -> None:
    one, other = tape(tmp_path / "one", "a"), tape(tmp_path / "other", "a", text="another")
    (tmp_path / "text").write_text("no tape " * 500)
    for arguments, message in [
        (["show", tmp_path / "gone"], "gone: no such tape"),
        (["verify", tmp_path / "text"], "text: not a tape, or damaged"),
        (["show", tmp_path], "tape: no such tape"),
        (["merge", one, other, "--out", tmp_path / "all"], "has two different observations"),
        (["import", tmp_path / "text", "--out", tmp_path / "all"], "is not an exported tape"),
    ]:
        code, out, error = spadework("tape", *arguments)
        assert (code, out, error.count("\n")) == (2, "", 1), error
        assert message in error


def trajectories(run: Path) -> str:
    return (run / "trajectories" / "eval-sft.jsonl").read_text()


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "events.jsonl").read_text().splitlines()]


def test_a_recorded_run_replays_with_the_same_trajectories(tmp_path: Path, spadework: Command) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert spadework("sft", "demo", "--out", first, *SETTINGS, "tools.tape={}")[0] == 0
    code, out, _ = spadework("tape", "verify", first, "--json")
    assert code == 0 and json.loads(out)["calls"] > 5
    replay = f"tools.tape={{mode: replay, path: {first / 'tape'}}}"
    assert spadework("sft", "demo", "--out", second, *SETTINGS, replay)[0] == 0
    # What was learned from the demonstrations, and what the agent then does, is the same.
    assert losses(second) == losses(first)
    assert _without_how(trajectories(second)) == _without_how(trajectories(first))
    # A tape of other calls is no tape of this run.
    empty = tape(tmp_path / "empty")
    code, _, error = spadework("sft", "demo", "--out", tmp_path / "third", *SETTINGS, f"tools.tape={{mode: replay, path: {empty}}}")
    assert code == 2 and "is not on the tape; record it with tools.tape.mode=record" in error


def _without_how(text: str) -> list[dict[str, Any]]:
    rows = [json.loads(line)["trajectory"] for line in text.splitlines()]
    for row in rows:
        for holder in [row, *(node["meta"] for node in row["nodes"] if "ledger" in node["meta"])]:
            holder["ledger"] = {name: value for name, value in holder["ledger"].items() if not name.startswith("hits")}
    return rows


def test_a_run_whose_budget_is_used_up_goes_on_with_a_higher_one(tmp_path: Path, spadework: Command) -> None:
    out = tmp_path / "run"
    code, _, error = spadework("sft", "demo", "--out", out, *SETTINGS, "tools.gateway.run_budget.calls=3")
    assert (code, error.count("\n")) == (2, 1)
    assert "the run's budget of 3 calls is used up; raise tools.gateway.run_budget.calls and continue with --resume" in error
    assert len((out / "spent.jsonl").read_text().splitlines()) == 3
    code, _, error = spadework("sft", "demo", "--out", out, "--resume", *SETTINGS, "tools.gateway.run_budget.calls=1000")
    assert code == 0, error
    assert spadework("sft", "demo", "--out", tmp_path / "free", *SETTINGS)[0] == 0
    assert [_without_seconds(row) for row in _without_how(trajectories(out))] == [
        _without_seconds(row) for row in _without_how(trajectories(tmp_path / "free"))
    ]


def _without_seconds(row: object) -> object:
    if isinstance(row, dict):
        return {name: _without_seconds(value) for name, value in row.items() if not str(name).startswith("seconds")}
    return [_without_seconds(value) for value in row] if isinstance(row, list) else row


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("tools.serch={}", "tools: unknown key 'serch'; did you mean 'search'?"),
        ("tools.calculater={}", "tools: unknown tool 'calculater'"),
        ("tools.gateway.burst=3", "burst has no effect without rate"),
        ("tools.tape={mode: replay}", "mode 'replay' needs the path of a tape"),
        ("tools.faults={poison: 1}", "unknown key 'tools.faults.poison'; did you mean 'poisoned'?"),
    ],
)
def test_settings_of_tools_that_are_wrong(tmp_path: Path, spadework: Command, setting: str, message: str) -> None:
    code, _, error = spadework("train", "demo", "--dry-run", setting)
    assert (code, error.count("\n")) == (2, 1)
    assert message in error


def test_a_tool_may_be_left_out(spadework: Command) -> None:
    code, out, _ = spadework("recipes", "show", "demo", "tools.read=null", "--json")
    assert code == 0 and json.loads(out)["tools"]["read"] is None
