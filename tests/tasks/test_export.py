import json
from pathlib import Path

import pytest

from spadework.core.errors import InputError
from spadework.tasks.dataset import read_tasks
from spadework.tasks.export import export_tasks
from spadework.tasks.task import Task

TASKS = [
    Task(id="t1", question="Who?", answers=("Ada", "Lady A"), evidence=("a",), kind="sailorfog", source="w", meta={"level": 2}),
    Task(id="t2", question="How many?", answers=("3",)),
]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_for_trl(tmp_path: Path) -> None:
    export_tasks(TASKS, tmp_path / "new" / "t.jsonl", "trl")
    first, second = lines(tmp_path / "new" / "t.jsonl")
    assert first["prompt"] == [{"role": "user", "content": "Who?"}]
    assert (first["answers"], first["evidence"], json.loads(first["meta"])) == (["Ada", "Lady A"], ["a"], {"level": 2})
    # One type per column.
    assert {key: type(value) for key, value in first.items()} == {key: type(value) for key, value in second.items()}


def test_rows_for_nemo_gym(tmp_path: Path) -> None:
    export_tasks(TASKS, tmp_path / "t.jsonl", "nemo-gym")
    first = lines(tmp_path / "t.jsonl")[0]
    assert first["responses_create_params"] == {"input": [{"role": "user", "content": "Who?"}]}
    assert (first["id"], first["expected_answer"], first["expected_answers"]) == ("t1", "Ada", ["Ada", "Lady A"])


def test_rows_for_verl_are_read_back(tmp_path: Path) -> None:
    export_tasks(TASKS, tmp_path / "t.parquet", "verl")
    assert read_tasks(tmp_path / "t.parquet") == TASKS


def test_the_ending_belongs_to_the_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the format 'verl' is written to \.parquet files"):
        export_tasks(TASKS, tmp_path / "t.jsonl", "verl")
    with pytest.raises(InputError, match=r"the format 'trl' is written to \.jsonl files"):
        export_tasks(TASKS, tmp_path / "t.parquet", "trl")
    assert list(tmp_path.iterdir()) == []
