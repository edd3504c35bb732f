"""The event log: complete lines only, rewound exactly, honest about a full disk."""

import errno
import json
import resource
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.core.errors import InputError
from spadework.core.events import append_event, disk_errors, read_events, read_json, rewind_events, write_atomic, write_json


def extend(path: Path, *steps: tuple[str, int]) -> None:
    for stage, step in steps:
        append_event(path, {"stage": stage, "step": step})


def steps_of(path: Path) -> list[tuple[str, int]]:
    return [(event["stage"], event["step"]) for event in read_events(path)]


def test_a_torn_last_line_is_skipped_and_then_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    extend(path, ("rl", 1))
    with path.open("a") as file:
        file.write('{"stage": "rl", "st')
    assert steps_of(path) == [("rl", 1)]
    extend(path, ("rl", 2))
    assert steps_of(path) == [("rl", 1), ("rl", 2)]


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"stage": "rl", "step": 1}\nnonsense\n')
    with pytest.raises(InputError, match=r"events\.jsonl:2: not a JSON object"):
        read_events(path)


def test_rewind_forgets_what_came_after(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    steps = [("sft", 1), ("sft", 2), ("rl", 1), ("rl", 2), ("eval", 2), ("rl", 3)]
    extend(path, *steps)
    rewind_events(path, "rl", 3)
    assert steps_of(path) == steps
    rewind_events(path, "rl", 1)
    assert steps_of(path) == steps[:3]
    extend(path, ("rl", 2))
    assert steps_of(path) == steps[:4]
    rewind_events(path, "rl", 0)
    assert steps_of(path) == steps[:2]
    rewind_events(path, "rl", 0)
    assert steps_of(path) == steps[:2]


@given(killed=st.integers(0, 12), saved=st.integers(0, 12))
def test_a_resumed_log_equals_an_uninterrupted_one(tmp_path_factory: pytest.TempPathFactory, killed: int, saved: int) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    extend(path, ("sft", 1), *(("rl", step) for step in range(1, max(killed, saved) + 1)))
    rewind_events(path, "rl", saved)
    extend(path, *(("rl", step) for step in range(saved + 1, 13)))
    assert steps_of(path) == [("sft", 1), *(("rl", step) for step in range(1, 13))]


def test_numbers_that_json_cannot_hold(tmp_path: Path) -> None:
    many = (1, float("inf"))
    append_event(tmp_path / "log", {"stage": "rl", "step": numpy.int64(1), "loss": float("nan"), "ratio": numpy.float32(0.5), "many": many})
    assert read_events(tmp_path / "log") == [{"stage": "rl", "step": 1, "loss": None, "ratio": 0.5, "many": [1, None]}]
    with pytest.raises(TypeError, match="set cannot stand in JSON"):
        write_json(tmp_path / "value.json", {"a": {1}})


def test_a_write_that_stops_half_way_leaves_whole_lines(tmp_path: Path) -> None:
    # Under a file-size limit the kernel takes the bytes that still fit and refuses the rest, exactly as a disk that fills up does.
    path = tmp_path / "events.jsonl"
    extend(path, ("rl", 1))
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(InputError, match=r"events\.jsonl: the file-size limit"):
            extend(path, ("rl", 2))
        with pytest.raises(InputError, match=r"summary\.json: the file-size limit"):
            write_json(tmp_path / "summary.json", {"text": "x" * 200})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["events.jsonl"]
    extend(path, ("rl", 2))
    assert steps_of(path) == [("rl", 1), ("rl", 2)]


def test_a_full_disk_is_one_line() -> None:
    with (
        pytest.raises(InputError, match=r"^runs/a: the disk is full; free some space, then continue with --resume$"),
        disk_errors(Path("runs/a")),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_long_torn_line_is_cut_off_too(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    extend(path, ("rl", 1))
    with path.open("a") as file:
        file.write("x" * 200_000)
    extend(path, ("rl", 2))
    assert steps_of(path) == [("rl", 1), ("rl", 2)]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    (tmp_path / ".value.json.partial").mkdir()
    with pytest.raises(InputError, match="this is a folder, not a file"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}


def test_atomic_write_leaves_no_other_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.txt", "one\n")
    write_atomic(tmp_path / "a.txt", "two\n")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("a.txt", "two\n")]


def test_read_json_names_the_fault(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps([1]))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="expected a JSON object, found list"):
        read_json(tmp_path / "list.json")
    with pytest.raises(InputError, match=r"bad\.json: not JSON"):
        read_json(tmp_path / "bad.json")
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "none.json")
