import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.core.errors import InputError
from spadework.tasks.dataset import read_tasks, task_from_verl, verl_row, write_tasks
from spadework.tasks.task import Task

TASKS = [
    Task(
        id="t0",
        question="Who is the mayor\nof \u201cOndal\u201d?",
        answers=("Velor Tash", "V. Tash"),
        evidence=("a", "b"),
        hops=2,
        kind="chain",
        source="world-1",
        meta={"steps": [["Ondal", "mayor", "Velor Tash"]], "n": {"x": None, "y": 1.5}},
    ),
    Task(id="t1", question="Bare?", answers=("yes",), hops=0, kind=""),
]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("tasks", [TASKS, TASKS[1:]], ids=["both", "only empty lists"])
def test_round_trip(tmp_path: Path, suffix: str, tasks: list[Task]) -> None:
    path = tmp_path / "new" / f"tasks{suffix}"
    write_tasks(tasks, path)
    assert read_tasks(path) == tasks
    assert [found.name for found in path.parent.iterdir()] == [path.name]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda x: st.lists(x) | st.dictionaries(TEXT, x),
    max_leaves=5,
)


@given(
    st.builds(
        Task,
        id=TEXT.filter(bool),
        question=TEXT.filter(bool),
        answers=st.lists(TEXT, min_size=1, max_size=3),
        evidence=st.lists(TEXT, max_size=3),
        hops=st.integers(0, 9),
        kind=TEXT,
        source=TEXT,
        meta=st.dictionaries(TEXT, JSON, max_size=3),
    )
)
def test_any_task_survives_a_verl_row(task: Task) -> None:
    assert task_from_verl(verl_row(task, index=3, split="dev"), "row") == task


def test_what_verl_reads(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_tasks(TASKS, path, split="test")
    row = pq.read_table(path).to_pylist()[0]
    assert row["data_source"] == "world-1"
    assert row["prompt"] == [{"role": "user", "content": TASKS[0].question}]
    assert row["reward_model"] == {"style": "rule", "ground_truth": {"target": ["Velor Tash", "V. Tash"]}}
    assert (row["extra_info"]["index"], row["extra_info"]["split"], row["extra_info"]["evidence"]) == (0, "test", ["a", "b"])


@pytest.mark.parametrize("target", ["Paris", ["Paris"]])
def test_search_r1_rows(tmp_path: Path, target: object) -> None:
    row = {
        "id": "train_0",
        "question": "Capital of France?",
        "golden_answers": ["Paris"],
        "data_source": "nq",
        "prompt": [{"role": "user", "content": "Answer the given question. ... Question: Capital of France?"}],
        "ability": "fact-reasoning",
        "reward_model": {"style": "rule", "ground_truth": {"target": target}},
        "extra_info": {"index": 0, "split": "train"},
    }
    path = tmp_path / "nq.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)
    assert read_tasks(path) == [Task(id="train_0", question="Capital of France?", answers=("Paris",), kind="qa", source="nq")]
    bare = {key: row[key] for key in ("data_source", "prompt", "reward_model", "extra_info")}
    task = task_from_verl(bare, "row")
    assert (task.id, task.question) == ("nq/train/0", row["prompt"][0]["content"])  # type: ignore[index]


def test_question_files(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(
        json.dumps({"id": "q", "question": "Q?", "answers": ["A"], "gold_ids": ["x", "y"], "decomposition": [1]})
        + "\n\n"
        + json.dumps({"id": "r", "question": "R?", "golden_answers": ["B"]})
    )
    assert read_tasks(path) == [
        Task(id="q", question="Q?", answers=("A",), evidence=("x", "y"), hops=2, kind="qa", meta={"decomposition": [1]}),
        Task(id="r", question="R?", answers=("B",), hops=1, kind="qa"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "t.jsonl, line 2: not JSON"),
        ("[]", "line 2: expected an object, found list"),
        ('{"id": "b", "question": "q", "answers": []}', "line 2: 'answers'"),
        ('{"id": "b", "question": "q", "golden_answers": null}', "line 2: 'answers': Field required"),
        ('{"id": "b", "question": "q", "answers": ["x"], "hops": -1}', "line 2: 'hops'"),
        ('{"id": "a", "question": "q", "answers": ["x"]}', "task id 'a' occurs twice"),
    ],
)
def test_malformed_lines(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"id": "a", "question": "q", "answers": ["x"]}\n' + line + "\n")
    with pytest.raises(InputError, match=message) as caught:
        read_tasks(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward_model": {"style": "rule", "ground_truth": {"target": []}}}, "row 7: no gold answer"),
        ({"reward_model": None}, "row 7: no gold answer"),
        ({"prompt": [{"role": "system", "content": "s"}], "extra_info": {}}, "row 7: no question"),
        ({"extra_info": [1]}, "row 7: 'extra_info' must be a mapping, found list"),
        ({"extra_info": {"meta": "{"}}, "row 7: 'extra_info.meta' is not JSON"),
        ({"extra_info": {"hops": -1}}, "row 7: 'hops'"),
    ],
)
def test_malformed_rows(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        task_from_verl(verl_row(TASKS[0], index=0, split="train") | change, "row 7")


def test_files_that_are_no_task_files(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("no")
    (tmp_path / "a.csv").write_text("no")
    (tmp_path / "a.jsonl").write_text("\n")
    for name, message in (
        ("b.jsonl", "no such file"),
        ("a.parquet", "not a parquet file"),
        ("a.csv", "read from"),
        ("a.jsonl", "no tasks"),
    ):
        with pytest.raises(InputError, match=message):
            read_tasks(tmp_path / name)
    with pytest.raises(InputError, match="written to"):
        write_tasks(TASKS, tmp_path / "t.csv")


def test_real_questions(data_dir: Path) -> None:
    tasks = read_tasks(data_dir / "musique_train100" / "questions.jsonl")
    assert len(tasks) == 100 and {task.hops for task in tasks} == {2, 3, 4} and all(task.evidence for task in tasks)
