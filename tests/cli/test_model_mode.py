"""`synth`, `corpus read` and `curate` with a model at an endpoint, from the outside: a scripted server over HTTP, with faults."""

import json
import re
from itertools import chain, cycle, repeat
from pathlib import Path
from typing import Any

import pytest

from spadework.core.progress import Progress
from spadework.rewards.judge_server import JudgeServer
from spadework.synthesis.ledger import ledger_of, rederive
from spadework.tasks.dataset import read_tasks

SMALL = ("synth", "--maker", "webshaper", "--world", "4", "--pages", "1000")
FAST = ("endpoint.backoff=0", "endpoint.retries=0", "endpoint.concurrency=2", "endpoint.deadline=60")


def value(prompt: str, name: str) -> Any:
    found = re.search(rf"^{re.escape(name)}: (.*)$", prompt, re.MULTILINE)
    return json.loads(found[1]) if found else None


def speaker(prompt: str) -> str:
    """Words every question; finds one in three unsound, by its length."""
    if (question := value(prompt, "The question")) is not None:
        return f"Question: Please tell me. {question}"
    return f"By rule.\nVerdict: {'yes' if len(value(prompt, 'Question')) % 3 else 'no'}"


def at(server: JudgeServer) -> tuple[str, ...]:
    return ("--endpoint", server.url, "--model", "scripted", *FAST)


def test_questions_are_worded_and_judged_and_the_counts_are_said(tmp_path: Path, spadework) -> None:
    one, many = tmp_path / "one.jsonl", tmp_path / "many.jsonl"
    with JudgeServer(speaker) as server:
        code, out, _ = spadework(*SMALL, "--n", "30", "--out", one, *at(server), "--json")
        assert code == 0 and spadework(*SMALL, "--n", "30", "--out", many, *at(server), "--workers", "2")[0] == 0
    said = json.loads(out)
    made = read_tasks(one)
    assert said["n"] == said["new"] == len(made) == 30 == said["model"]["sound"]
    assert said["model"]["worded"] == 30 + said["model"]["unsound, left out"] > 30
    assert one.read_bytes() == many.read_bytes()
    for task in made:
        assert task.question.startswith("Please tell me. ") and rederive(task) == task.answers
        assert [gate[:2] for gate in ledger_of(task).gates] == [("wording", True), ("soundness", True)]
    assert spadework("tasks", "validate", one)[:2] == (0, "30 of 30 tasks are sound\n")


def test_an_endpoint_that_dies_in_the_middle_loses_nothing(tmp_path: Path, spadework) -> None:
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    with JudgeServer(speaker) as server:
        assert spadework(*SMALL, "--n", "25", "--out", whole, *at(server))[0] == 0
    with JudgeServer(speaker, faults=chain(["none"] * 31, repeat("drop"))) as server:
        code, out, err = spadework(*SMALL, "--n", "25", "--out", parts, *at(server))
        first = server.prompts
    # Beside the progress.
    (said,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, out) == (1, "") and "go on with --resume" in said and "8 questions in a row" in said
    before = read_tasks(parts)
    assert 0 < len(before) < 25 and len(first) - 31 in (8, 9)  # the last two of them at once
    assert all(gate[1] for task in before for gate in ledger_of(task).gates)
    with JudgeServer(speaker) as server:
        assert spadework(*SMALL, "--n", "25", "--out", parts, "--resume", *at(server))[0] == 0
        assert not set(first[:31]) & set(server.prompts)
    assert parts.read_bytes() == whole.read_bytes() and read_tasks(parts)[: len(before)] == before


def test_a_bad_day_changes_no_task_that_it_does_not_hit(tmp_path: Path, spadework) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    with JudgeServer(speaker) as server:
        assert spadework(*SMALL, "--n", "20", "--out", good, *at(server))[0] == 0
    faults = cycle(["error", "none", "garbage", "drop", "none", "none", "mute", "empty", "busy", "none"])
    with JudgeServer(speaker, faults=faults) as server:
        more = ("endpoint.retries=9", "endpoint.concurrency=1")
        assert spadework(*SMALL, "--n", "20", "--out", bad, *at(server), *more)[0] == 0
    assert good.read_bytes() == bad.read_bytes()


def test_nonsense_keeps_the_templates_and_is_counted(tmp_path: Path, spadework) -> None:
    out = tmp_path / "t.jsonl"
    with JudgeServer(lambda prompt: "Question: Who?" if value(prompt, "The question") else "Verdict: yes") as server:
        code, text, _ = spadework(*SMALL, "--n", "4", "--out", out, *at(server))
    assert code == 0 and "4 in the template's words: the name ... is missing\n4 sound" in text
    templates = tmp_path / "plain.jsonl"
    assert spadework(*SMALL, "--n", "4", "--out", templates)[0] == 0
    assert [task.question for task in read_tasks(out)] == [task.question for task in read_tasks(templates)]
    with JudgeServer(lambda prompt: f"'{prompt[-9:]}' is what I can't say") as server:
        for patience in (1, 8, 99):
            more = (*at(server), f"model.patience={patience}")
            code, _, err = spadework(*SMALL, "--n", "4", "--out", tmp_path / "none.jsonl", *more)
            said = (
                "no question had a usable reply; the last: scripted at"
                if patience == 99
                else f"{patience} questions in a row without a usable reply"
            )
            assert code == 1 and said in err
    # What has a reply that can not be used is kept as it is, if others had better ones.
    with JudgeServer(lambda prompt: f"'{prompt[-9:]}' is what I can't say" if value(prompt, "The question") else "Verdict: yes") as server:
        code, text, _ = spadework(*SMALL, "--n", "4", "--out", tmp_path / "templates.jsonl", *at(server))
        assert code == 0 and text.startswith("4 in the template's words: no usable reply\n4 sound\n4 tasks")
    with JudgeServer(lambda prompt: "Question: Who?" if value(prompt, "The question") else "Verdict: no") as server:
        code, _, err = spadework(*SMALL, "--n", "4", "--out", tmp_path / "none.jsonl", *at(server), "endpoint.concurrency=8")
    assert code == 2 and "finds none of 100 questions in a row sound" in err
    assert not (tmp_path / "none.jsonl").exists()


def test_a_run_goes_on_with_the_same_model_only(tmp_path: Path, spadework, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "t.jsonl"
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with JudgeServer(speaker) as server:
        assert spadework(*SMALL, "--n", "2", "--out", out, *at(server), "endpoint.key_env=MY_KEY")[0] == 0
        assert set(server.keys) == {"Bearer sk-secret"}
        for more in ((), ("--endpoint", server.url, "--model", "other"), (*at(server), "model.tries=1")):
            code, _, err = spadework(*SMALL, "--n", "3", "--out", out, "--resume", *more)
            assert code == 2 and "was made with other settings: model" in err
        code, _, err = spadework(*SMALL, "--n", "9", "--out", out, "--resume", *at(server), "model.budget=2")
        assert code == 2 and "the budget of 2 questions to scripted is spent" in err
    assert "sk-secret" not in "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def reader(prompt: str) -> str:
    title, text = value(prompt, "Title"), value(prompt, "Page")
    found = re.search(r"(\w+ \w+) (was \w+ \w+) (\w+ \w+)", text)
    return (
        json.dumps(dict(zip(("subject", "relation", "object", "sentence"), (title, found[2], found[3], text), strict=True)))
        if found
        else "none"
    )


@pytest.fixture
def corpus(tmp_path: Path, spadework) -> Path:
    ends = {
        "Lamp One": "directed by Ada Moon",
        "Lamp Two": "shot in Port Vale",
        "Ada Moon": "born in Port Vale",
        "Cy Sand": "taught by Ada Moon",
    }
    rows = [{"id": name, "title": name, "text": f"{name} was {end} in the year of the flood."} for name, end in ends.items()]
    rows.append({"id": "Port Vale", "title": "Port Vale", "text": "Port Vale is a town."})
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert spadework("corpus", "build", tmp_path / "pages.jsonl", "--out", tmp_path / "corpus")[0] == 0
    return tmp_path / "corpus"


def test_tasks_from_pages_as_a_model_has_read_them(corpus: Path, tmp_path: Path, spadework) -> None:
    read, out = tmp_path / "read.jsonl", tmp_path / "t.jsonl"
    arguments = ("corpus", "read", "--corpus", corpus, "--out", read)
    with JudgeServer(reader, faults=chain(["none"], repeat("drop"))) as server:
        code, _, err = spadework(*arguments, *at(server), "model.patience=2")
    assert code == 1 and "go on with --resume" in err
    with JudgeServer(reader, faults=["mute"]) as server:
        code, text, _ = spadework(*arguments, *at(server), "--resume", "--json")
        facts = json.loads(text)
        assert (code, facts["read"], facts["unread"]) == (1, 4, 1)
        code, text, _ = spadework(*arguments, *at(server), "--resume")
        assert code == 0 and text.startswith("4 statements on 5 of 5 pages") and len(server.prompts) == 5
    code, _, err = spadework(
        "synth", "--maker", "e2hqa", "--corpus", corpus, "--statements", read, "--n", "3", "--out", out, "rounds=[1,1]"
    )
    made = read_tasks(out)
    assert made and all(rederive(task) == task.answers and "flood" not in task.question for task in made), err
    assert all(start >= 0 for task in made for *_, start, _ in task.meta["ledger"]["statements"])
    assert spadework("tasks", "validate", out)[0] == 0
    gate = ("curate", out, "--corpus", corpus, "--gate", "uniqueness", "--gate", "evidence", "--out", tmp_path / "good.jsonl")
    assert spadework(*gate, "--statements", read)[0] == 0 and len(read_tasks(tmp_path / "good.jsonl")) == len(made)
    code, _, err = spadework("curate", out, "--corpus", corpus, "--gate", "uniqueness", "--out", tmp_path / "more.jsonl")
    assert code == 2 and "and the graph is corpus-" in err


def test_curate_gives_its_endpoint_to_the_gates_that_ask(tmp_path: Path, spadework) -> None:
    made, good, rest = (tmp_path / name for name in ("t.jsonl", "good.jsonl", "rest.jsonl"))
    assert spadework(*SMALL, "--n", "12", "--out", made)[0] == 0
    gate = ("curate", made, "--gate", "shortcut", "--gate", "judged", "--gate", "subjective", "shortcut.edges=false")
    with JudgeServer(speaker) as server:
        code, out, _ = spadework(*gate, "--out", good, "--dropped", rest, *at(server), "--json")
        asked = len(server.prompts)
    said = json.loads(out)
    assert code == 0 and said["kept"] + said["dropped"] == 12 and said["undecided"] == 0 and said["dropped_by"].keys() == {"judged"}
    assert asked == 12 + said["kept"]
    # The same again with a server that dies: what it had replied stands in the cache of the replies.
    dying = tmp_path / "dying.jsonl"
    with JudgeServer(speaker, faults=chain(["none"] * 5, repeat("error"))) as server:
        code, out, _ = spadework(*gate, "--out", dying, *at(server))
    assert code == 1 and re.search(r"\d+ undecided; the first: .*, gate (judged|subjective): .*HTTP 500", out)


def test_a_curation_goes_on_at_another_address_but_not_with_another_model(
    tmp_path: Path, spadework, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "t.jsonl"
    assert spadework(*SMALL, "--n", "6", "--out", made)[0] == 0
    gate = ("curate", made, "--gate", "judged", "--out", tmp_path / "good.jsonl")

    def stop(progress: Progress, count: int = 1) -> None:
        raise KeyboardInterrupt

    with JudgeServer(speaker) as server, monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", stop)
        assert spadework(*gate, *at(server))[0] == 130
    with JudgeServer(speaker) as server:
        code, _, err = spadework(*gate, "--endpoint", server.url, "--model", "other", *FAST, "--resume")
        assert code == 2 and "gates.judged.endpoint.model" in err
        assert spadework(*gate, *at(server), "endpoint.deadline=9", "--resume")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*SMALL, "--endpoint", "http://127.0.0.1:9/v1"), "name where the model is and what it is called: --endpoint URL --model NAME"),
        ((*SMALL, "--model", "x"), "name where the model is and what it is called"),
        ((*SMALL, "endpoint.retries=1"), "name where the model is and what it is called"),
        ((*SMALL, "model.tries=1"), "`model.` settings are those of a model"),
        ((*SMALL, "--endpoint", "127.0.0.1:9", "--model", "x"), "--endpoint: 'endpoint.url': String should match pattern"),
        (
            (*SMALL, "--endpoint", "http://127.0.0.1:9/v1", "--model", "x", "endpoint.retry=1"),
            "unknown key 'endpoint.retry'; did you mean 'retries'?",
        ),
        ((*SMALL, "--endpoint", "http://127.0.0.1:9/v1", "--model", "x", "model.trie=1"), "unknown key 'trie'; did you mean 'tries'?"),
        ((*SMALL, "--statements", "x.jsonl"), "statements are read off the pages of a corpus, and a world is named"),
        (("corpus", "read", "--corpus", "no"), "name who reads: --endpoint URL --model NAME"),
        (("corpus", "read", "--corpus", "no", "tries=1"), "setting 'tries': known are those of `endpoint.` and `model.`"),
    ],
)
def test_wrong_input(arguments: tuple[str, ...], message: str, tmp_path: Path, spadework) -> None:
    code, out, err = spadework(*arguments, "--out", tmp_path / "t.jsonl")
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err, err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--gate", "schema", "--endpoint", "http://127.0.0.1:9/v1", "--model", "x"),
            "none of the gates asks a model; leave --endpoint out",
        ),
        (("--gate", "judged"), "judged: 'endpoint' is missing"),
        (("--gate", "shortcut", "--statements", "x.jsonl"), "--statements FILE goes with --corpus DIR"),
        (("--gate", "judged", "--model", "x"), "name where the model is and what it is called"),
    ],
)
def test_wrong_input_of_curate(arguments: tuple[str, ...], message: str, tmp_path: Path, spadework) -> None:
    assert spadework(*SMALL, "--n", "1", "--out", tmp_path / "t.jsonl")[0] == 0
    code, out, err = spadework("curate", tmp_path / "t.jsonl", *arguments, "--out", tmp_path / "good.jsonl")
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err, err
