"""What is written reads back equal, and what can not be read is named by its line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.core.errors import InputError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.trajectories.store import Record, append_records, decode_record, encode_record, read_records, write_records
from spadework.trajectories.tree import Status, Trajectory

number = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(max_size=8)
values = st.dictionaries(text, st.one_of(st.none(), number, text, st.lists(st.integers(), max_size=2)), max_size=2)
calls = st.builds(ToolCall, name=text, arguments=values, error=st.none() | text)
turns = st.builds(Turn, thought=text, calls=st.lists(calls, max_size=2).map(tuple), answer=st.none() | text, error=st.none() | text)
messages = st.builds(
    Message, role=st.sampled_from(["system", "user", "assistant", "tool"]), content=text, turn=st.none() | turns, name=st.none() | text
)


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    trajectory = Trajectory(
        task_id=draw(text),
        sample=draw(st.integers(0, 9)),
        status=draw(st.sampled_from(list(Status))),
        answer=draw(st.none() | text),
        error=draw(st.none() | text),
        rewards=draw(st.dictionaries(text, number, max_size=2)),
        weights=draw(st.dictionaries(text, number, max_size=2)),
        reward=draw(number),
        ledger=draw(st.dictionaries(text, number, max_size=2)),
        meta=draw(values),
    )
    for index in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["prompt", "generation", "observation"]))
        tokens = draw(st.lists(st.integers(0, 99), max_size=3))
        column = st.lists(number, min_size=len(tokens), max_size=len(tokens))
        node = trajectory.add(
            kind,  # type: ignore[arg-type]
            tokens,
            parent=draw(st.none() | st.integers(0, index - 1)) if index else None,
            logprobs=draw(column) if kind == "generation" else None,
            entropies=draw(st.none() | column),
            derived_from=draw(st.none() | st.integers(0, 9)),
            role=draw(text),
            version=draw(st.none() | st.integers(0, 9)),
            messages=draw(st.lists(messages, max_size=2)),
            meta=draw(values),
        )
        node.advantages = draw(st.just([]) | column)
    return trajectory


@given(trajectories(), values)
def test_round_trip(trajectory: Trajectory, task: dict[str, Any]) -> None:
    record = Record(trajectory, task)
    assert decode_record(json.loads(json.dumps(encode_record(record)))) == record


def example(sample: int = 0) -> Record:
    trajectory = Trajectory(task_id="t", sample=sample, status=Status.COMPLETED, answer="Zürich", ledger={"calls": 1.0})
    trajectory.add("prompt", [1, 2], parent=None, messages=[Message(role="user", content="Where?")])
    trajectory.add("generation", [3, 4], parent=0, logprobs=[-0.5, -0.25], messages=[Message(role="assistant", turn=Turn(answer="Zürich"))])
    return Record(trajectory, {"id": "t", "answers": ["Zürich"]})


def test_files_are_written_whole_and_grow_by_appending(tmp_path: Path) -> None:
    path = tmp_path / "rollout.jsonl"
    append_records(path, [example(0)])
    append_records(path, [example(1), example(2)])
    assert [record.trajectory.sample for record in read_records(path)] == [0, 1, 2]
    write_records(path, [example(3)])
    assert list(read_records(path)) == [example(3)]
    assert list(tmp_path.iterdir()) == [path]
    # The format as others read it.
    line = path.read_text(encoding="utf-8")
    assert "Zürich" in line and line.endswith("\n")
    values = json.loads(line)
    assert (values["schema"], values["task"]) == (1, {"id": "t", "answers": ["Zürich"]})
    assert (values["trajectory"]["sample"], values["trajectory"]["status"]) == (3, "completed")
    prompt, generation = values["trajectory"]["nodes"]
    assert prompt["messages"] == [{"role": "user", "content": "Where?"}]
    assert [generation[name] for name in ("token_ids", "mask", "logprobs", "entropies")] == [[3, 4], [True] * 2, [-0.5, -0.25], [0.0, 0.0]]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rollout.jsonl"
    write_records(path, [example(0)])
    bad = example(1)
    bad.trajectory.reward = float("nan")
    with pytest.raises(ValueError, match="Out of range float"):
        write_records(path, [example(2), bad])
    with pytest.raises(ValueError, match="Out of range float"):
        append_records(path, [example(2), bad])
    assert list(read_records(path)) == [example(0)]


def broken(**changes: Any) -> str:
    values = encode_record(example())
    return json.dumps(values | {"trajectory": values["trajectory"] | changes}) + "\n"


SHORT = {"id": 0, "kind": "prompt", "token_ids": [1, 2], "mask": [False], "logprobs": [0.0] * 2, "entropies": [0.0] * 2, "messages": []}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{]\n", r"not JSON \(.*\); delete the line"),
        ("[1]\n", "expected an object, found list"),
        ('{"schema": 2}\n', "schema version 2 is unknown; this version of spadework reads 1"),
        ("{}\n", "schema version None is unknown"),
        (broken(status="winning"), "not a trajectory: ValueError: 'winning' is not a valid Status"),
        (broken(colour="red"), "not a trajectory: TypeError: .*'colour'"),
        ('{"schema": 1, "trajectory": {}}\n', "not a trajectory: KeyError: 'nodes'"),
        (broken(nodes=[SHORT]), "node 0: 1 mask for 2 tokens"),
    ],
)
def test_a_line_that_can_not_be_read_is_named(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "rollout.jsonl"
    write_records(path, [example()])
    with path.open("a") as file:
        file.write(line)
    records = read_records(path)
    assert next(records) == example()
    with pytest.raises(InputError, match=rf"rollout\.jsonl:2: {why}"):
        next(records)


def test_a_torn_last_line_is_skipped_and_then_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rollout.jsonl"
    write_records(path, [example(0)])
    with path.open("a") as file:
        file.write('{"schema": 1, "task": ')
    assert list(read_records(path)) == [example(0)]
    append_records(path, [example(1)])
    assert list(read_records(path)) == [example(0), example(1)]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jsonl: no such file"):
        next(read_records(tmp_path / "gone.jsonl"))
