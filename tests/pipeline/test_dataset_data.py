"""Questions and pages of a user: what is held out, what is drawn, what is refused, and a whole run on generated files."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from spadework.core.config import apply_overrides
from spadework.core.errors import InputError
from spadework.corpus.store import StoredCorpus, build_corpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.pipeline.chain import run_pipeline
from spadework.pipeline.data import TaskPool, load_data
from spadework.pipeline.recipe import Recipe
from spadework.synthesis.graph import make_chains
from spadework.tasks.dataset import write_tasks
from spadework.tasks.task import Task


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of a small world, 60 questions to learn from (one of them also in the test) and 30 for the test."""
    folder = tmp_path_factory.mktemp("files")
    world = build_world(WorldConfig(seed=3, pages=1000))
    pages = "".join(json.dumps({"id": page.id, "title": page.title, "text": page.text}) + "\n" for page in world.documents())
    (folder / "pages.jsonl").write_text(pages)
    tasks = make_chains(world, seed=0, counts={1: 50, 2: 40})
    test = tasks[:20] + tasks[50:60]
    write_tasks([*tasks[20:50], *tasks[60:], tasks[0]], folder / "train.parquet")
    write_tasks(test, folder / "test.jsonl")
    return {"corpus": folder / "pages.jsonl", "train": folder / "train.parquet", "test": folder / "test.jsonl"}


def recipe(files: dict[str, Path], *overrides: str) -> Recipe:
    values: dict[str, Any] = {
        "name": "files",
        "threads": 1,
        "data": {"type": "dataset", "origin": "generated files"} | {name: str(path) for name, path in files.items()},
        "model": {"vocab_size": 700},
        "limits": {"max_turns": 3, "max_tokens": 300},
        "reading": {"steps": 1, "batch_size": 2},
        "sft": {"steps": 1, "batch_size": 2, "demonstrations": 6, "hops": None},
        "rl": {"steps": 1, "tasks_per_step": 2, "samples": 2, "hops": None, "sampling": {"max_tokens": 6}, "selection": {}},
        "eval": {"hops": None, "unseen_hops": [], "tasks_per_hop": 4, "max_tokens": 6},
    }
    return Recipe.parse(apply_overrides(values, overrides), source="test")


def test_a_run_on_files_of_a_user(files: dict[str, Path], tmp_path: Path) -> None:
    summary = run_pipeline(recipe(files), tmp_path / "run")
    assert set(summary["stages"]) == {"reading", "sft", "rl"}
    assert {hops: figure["n"] for hops, figure in summary["stages"]["rl"]["success_by_hops"].items()} == {"1": 4, "2": 4}
    assert set(summary["data"]) == {"corpus", "train", "test", "pages_train", "pages_test"}


def test_what_the_test_asks_is_not_learned(files: dict[str, Path]) -> None:
    data = load_data(recipe(files))
    asked = {json.loads(line)["question"] for line in files["test"].read_text().splitlines()}
    learned = [task for tasks in data.train_tasks.values() for task in tasks]
    assert len(learned) == 60 and not asked & {task.question for task in learned}
    evidence = {key for line in files["test"].read_text().splitlines() for key in json.loads(line)["evidence"]}
    assert evidence and not evidence & {page.id for page in data.pages}
    assert len(data.pages) + len(evidence) == len(data.train)


def test_the_evaluation_draws_by_seed_in_the_order_of_the_file(files: dict[str, Path]) -> None:
    first, again, other = ([task.id for task in load_data(recipe(files, f"seed={seed}"), training=False).test_tasks] for seed in (0, 0, 1))
    order = [json.loads(line)["id"] for line in files["test"].read_text().splitlines()]
    assert first == again != other and len(first) == 8
    assert first == sorted(first, key=order.index)
    assert {task.hops for task in load_data(recipe(files, "eval.hops=[2]"), training=False).test_tasks} == {2}


def test_without_shares_every_task_is_as_likely_as_any_other() -> None:
    def task(name: str, hops: int) -> Task:
        return Task(id=name, question=name, answers=("a",), hops=hops)

    pool = TaskPool({1: [task(f"a{n}", 1) for n in range(90)], 2: [task(f"b{n}", 2) for n in range(10)]}, None)
    drawn = [pool.draw(random.Random(seed), 1)[0].hops for seed in range(1000)]
    # 10 of 100 tasks have two hops: 100 of 1000 draws, standard deviation 9.5.
    assert 60 < drawn.count(2) < 140


def test_a_corpus_folder_stays_on_disk(files: dict[str, Path], tmp_path: Path) -> None:
    build_corpus(files["corpus"], tmp_path / "corpus")
    stored = load_data(recipe(files | {"corpus": tmp_path / "corpus"}), training=False)
    assert isinstance(stored.test, StoredCorpus)
    assert stored.hashes == load_data(recipe(files), training=False).hashes


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.train=gone.parquet"], r"data\.train: gone\.parquet is not there; get generated files, or set data\.train=PATH"),
        (["data.corpus=gone"], r"data\.corpus: gone is not there"),
        (["eval.hops=[3]"], r"eval\.hops: .* has no questions of 3 hops; it has 1, 2"),
        (["rl.hops={3: 1.0}"], r"there are no training tasks of 3 hops"),
        (["data.train=TEST"], r"every question of .* is also in"),
    ],
)
def test_wrong_files_are_one_line(overrides: list[str], message: str, files: dict[str, Path], tmp_path: Path) -> None:
    chosen = recipe(files, "reading=null", "sft=null", *(o.replace("TEST", str(files["test"])) for o in overrides))
    with pytest.raises(InputError, match=message) as error:
        run_pipeline(chosen, tmp_path / "run")
    assert "\n" not in str(error.value)


def test_demonstrations_need_steps(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "plain.jsonl").write_text('{"id": "q1", "question": "Who?", "answers": ["x"]}\n')
    with pytest.raises(InputError, match=r"sft: .*plain\.jsonl has no demonstrations \(task 'q1' has no meta\.steps.*set sft=null"):
        load_data(recipe(files | {"train": tmp_path / "plain.jsonl"}))
    data = load_data(recipe(files | {"train": tmp_path / "plain.jsonl"}, "sft=null"))
    assert [task.hops for task in data.train_tasks[1]] == [1], "a row that does not say has one hop"


def test_questions_of_a_published_set(data_dir: Path, tmp_path: Path) -> None:
    hotpotqa = data_dir / "hotpotqa_dev500"
    rows = (hotpotqa / "questions.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join(rows[:300]))
    (tmp_path / "test.jsonl").write_text("".join(rows[300:]))
    chosen = recipe(
        {"corpus": hotpotqa / "corpus.jsonl", "train": tmp_path / "train.jsonl", "test": tmp_path / "test.jsonl"},
        "sft=null", "reading=null", "model={preset: null, path: nowhere}", "eval.tasks_per_hop=50",
    )  # fmt: skip
    data = load_data(chosen)
    assert set(data.train_tasks) == {2} and len(data.train_tasks[2]) == 300 and len(data.test_tasks) == 50
    assert not data.pages, "a checkpoint reads none, so they are not copied"
    assert all(data.train.get(key) for task in data.test_tasks for key in task.evidence)
