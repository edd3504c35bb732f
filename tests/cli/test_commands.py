"""The commands that need no trained policy, from the outside: results, one-line errors, exit codes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest


@pytest.fixture
def corpus(tmp_path: Path, spadework) -> Path:
    rows = [
        {"id": "a", "title": "Velor Tash", "text": "Velor Tash is the mayor of Kedun. Velor Tash was born in Ondal Brin."},
        {"id": "b", "title": "Kedun", "text": "Kedun is a town by the sea. Its mayor is Velor Tash."},
        {"id": "c", "title": "Ondal Brin", "text": "Ondal Brin is a village known for its cheese."},
    ]
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = spadework("corpus", "build", tmp_path / "pages.jsonl", "--out", tmp_path / "corpus", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["documents"] == 3
    return tmp_path / "corpus"


def test_search_finds_the_page(corpus: Path, spadework) -> None:
    code, out, _ = spadework("search", "village cheese", "--corpus", corpus, "--json")
    assert code == 0
    assert [hit["id"] for hit in json.loads(out)] == ["c"]
    code, out, _ = spadework("search", "zebra", "--corpus", corpus)
    assert (code, out) == (0, "nothing found\n")


def test_modes_need_vectors(corpus: Path, tmp_path: Path, spadework) -> None:
    code, _, err = spadework("search", "village", "--corpus", corpus, "--mode", "hybrid")
    assert (code, err.count("\n")) == (2, 1) and "build the corpus with --dense MODEL" in err
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"id": 1, "question": "village", "gold_ids": ["c"]}) + "\n")
    code, _, err = spadework("eval", "retrieval", "--corpus", corpus, "--questions", questions, "--mode", "dense")
    assert code == 2 and "build the corpus with --dense MODEL" in err


def test_a_served_corpus_until_ctrl_c(corpus: Path) -> None:
    code = "from spadework.cli.main import main; main()"
    arguments = [sys.executable, "-c", code, "search", "serve", "--corpus", str(corpus), "--port", "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = httpx.post(url, json={"queries": ["village cheese"], "topk": 1, "return_scores": True}, trust_env=False, timeout=60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert answer.json()["result"][0][0]["document"]["id"] == "c"
    assert process.returncode == 130 and "Traceback" not in err


def test_retrieval_by_hand(corpus: Path, tmp_path: Path, spadework) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"id": 1, "question": "village known for cheese", "gold_ids": ["c"]}) + "\n")
    code, out, _ = spadework("eval", "retrieval", "--corpus", corpus, "--questions", questions, "--json")
    # One question, its one gold page comes first: every figure is 1.
    assert (code, json.loads(out)) == (
        0,
        {**dict.fromkeys(["recall@2", "recall@5", "recall@10", "all@5", "all@10", "ndcg@10"], 1.0), "n": 1},
    )


def test_tasks_are_validated_and_converted(corpus: Path, tmp_path: Path, spadework) -> None:
    tasks = tmp_path / "tasks.jsonl"
    good = {"id": "t1", "question": "Who is the mayor of Kedun?", "answers": ["Velor Tash"], "evidence": ["b"]}
    tasks.write_text(json.dumps(good) + "\n")
    code, out, _ = spadework("tasks", "validate", tasks, "--corpus", corpus)
    assert (code, out) == (0, "1 of 1 tasks are sound\n")
    code, out, _ = spadework("tasks", "convert", tasks, "--out", tmp_path / "tasks.parquet")
    assert code == 0
    code, out, _ = spadework("tasks", "validate", tmp_path / "tasks.parquet", "--corpus", corpus, "--json")
    assert (code, json.loads(out)) == (0, {"n": 1, "sound": 1, "problems": {}})
    tasks.write_text(json.dumps({**good, "evidence": ["gone"]}) + "\n")
    code, out, _ = spadework("tasks", "validate", tasks, "--corpus", corpus)
    assert code == 1
    assert "t1: evidence 'gone' is not in the corpus" in out


def test_tasks_of_a_world_are_made_and_sound(tmp_path: Path, spadework) -> None:
    code, _, _ = spadework("world", "build", "--out", tmp_path / "world", "--pages", "1000", "--seed", "3")
    assert code == 0
    code, out, _ = spadework("tasks", "make", "--world", "3", "--pages", "1000", "--n", "3", "--out", tmp_path / "t.jsonl", "--json")
    assert code == 0
    made = json.loads(out)["n"]
    code, out, _ = spadework("tasks", "validate", tmp_path / "t.jsonl", "--corpus", tmp_path / "world")
    assert (code, out) == (0, f"{made} of {made} tasks are sound\n")


def test_a_world_page_beside_its_facts(spadework) -> None:
    code, out, _ = spadework("world", "show", "w0-0", "--pages", "1000", "stale_rate=0", "--json")
    page = json.loads(out)
    assert (code, page["id"], page["archived"]) == (0, "w0-0", None)
    assert all(value in page["text"] for value in page["facts"].values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "x", "--corpus", "nowhere"], "nowhere: not a corpus folder"),
        (["search", "serve", "--corpus", "nowhere"], "nowhere: not a corpus folder"),
        (["view", "nowhere"], "nowhere is not a run folder"),
        (["view", "nowhere", "elsewhere"], "name it with --out FILE"),
        (["compare", "demo", "--out", "nowhere"], "at least two recipes"),
        (["compare", "demo", "demo", "--out", "nowhere", "rl.steps=2"], "two arms are called 'demo'"),
        (["compare", "demo", "demo", "--out", "nowhere", "--budget", "tokens=many"], "expected NAME=N"),
        (["compare", "demo", "demo", "--out", "nowhere", "--budget", "tokns=5"], "did you mean 'tokens'"),
        (["eval", "compare", "nowhere", "nowhere"], "nowhere is not a run folder"),
        (["corpus", "build", "nowhere", "--out", "out"], "nowhere"),
        (["world", "show", "w0-0", "stale_rat=0"], "unknown key 'stale_rat'; did you mean 'stale_rate'?"),
        (["world", "show", "w0-0", "stale_rate"], "override 'stale_rate' is not of the form a.b=c"),
        (["tasks", "make", "--out", "t.jsonl"], "name one source of tasks: --corpus DIR or --world SEED"),
        (["tasks", "convert", "nowhere.jsonl", "--out", "t.jsonl"], "nowhere.jsonl: no such file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, spadework, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = spadework(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "t.jsonl").exists()


def test_wrong_usage_is_exit_code_2(spadework) -> None:
    code, _, err = spadework("serch", "x")
    assert code == 2
    assert "No such command 'serch'" in err


def test_the_version(spadework) -> None:
    assert spadework("--version") == (0, "0.1.0\n", "")
