"""Wording and judgement by a model: the package's scripted server over HTTP, with faults."""

import json
import re
from functools import cache
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from spadework.core.errors import BrokenError, InputError
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.rewards.judge_server import JudgeServer
from spadework.synthesis.draft import constants
from spadework.synthesis.ledger import ledger_of, rederive
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.model import Model, faults, judged, reworded
from spadework.synthesis.statements import WorldGraph
from spadework.tasks.task import Task


@cache
def some(n: int = 6) -> tuple[Task, ...]:
    graph = WorldGraph(build_world(WorldConfig(seed=3, pages=1000)))
    return tuple(tasks(makers.build("sailorfog"), graph, seed=0, n=n))


def value(prompt: str, name: str) -> Any:
    found = re.search(rf"^{re.escape(name)}: (.*)$", prompt, re.MULTILINE)
    assert found is not None
    return json.loads(found[1])


def politely(prompt: str) -> str:
    return f"Sure!\n**Question:** Please tell me. {value(prompt, 'The question')}"


def model(server: JudgeServer, budget: int | None = None, **options: Any) -> Model:
    values = {"url": server.url, "model": "scripted", "backoff": 0.0, "deadline": 10.0, "retries": 1, "concurrency": 2, **options}
    return Model(endpoint=values, budget=budget, patience=3)


def test_a_model_words_questions_and_changes_nothing_else() -> None:
    with JudgeServer(politely) as server:
        made = list(reworded(some(), model(server)))
    for before, after in zip(some(), made, strict=True):
        assert after.question == f"Please tell me. {before.question}"
        assert after.model_copy(update={"question": before.question, "meta": before.meta}) == before
        (verdict,) = ledger_of(after).gates
        assert verdict[:2] == ("wording", True) and verdict.evidence == [before.question] and rederive(after) == after.answers
    assert len(server.prompts) == 6 and server.most_open <= 2


def test_a_wording_that_tells_is_asked_for_again_with_the_reason() -> None:
    (task,) = some()[:1]

    def at_second(prompt: str) -> str:
        fault = value(prompt, "What was wrong with your last wording")
        return politely(prompt) if fault != "nothing yet" else f"{politely(prompt)} Is it {task.answers[0].upper()}?"

    with JudgeServer(at_second) as server:
        (made,) = reworded([task], model(server))
    assert made.question.startswith("Please") and len(server.prompts) == 2
    assert f"it tells '{task.answers[0]}'" in value(server.prompts[1], "What was wrong with your last wording")
    with JudgeServer(lambda prompt: f"Question: Is it {task.answers[0]}?") as server:
        (kept,) = reworded([task], model(server))
    assert kept.question == task.question and len(server.prompts) == 2  # The third try is the second one again, which is known.
    verdict = ledger_of(kept).gates[0]
    assert (
        not verdict.passed
        and verdict.reason == f"the template's wording stays: it tells '{task.answers[0]}', which the question does not name"
    )


def test_what_a_wording_may_not_lose() -> None:
    for task in some(30):
        ledger = ledger_of(task)
        assert faults(task.question, task) == ""
        for key in constants(ledger.query) & ledger.names.keys():
            assert faults(task.question.replace(ledger.names[key][0], "someone"), task) != ""
        for key in ledger.names.keys() - constants(ledger.query):
            assert faults(f"{task.question} {ledger.names[key][-1]}", task).startswith("it tells")
        assert faults(task.question * 40, task) != ""
        for digits in re.findall(r"\d{3,}", task.question):
            assert faults(task.question.replace(digits, "some"), task) == f"the number {digits} is missing"
    assert any(re.search(r"\d{3,}", task.question) for task in some(30))


def test_nonsense_leaves_the_template_and_the_run_goes_on() -> None:
    # Two attempts at the first question give nothing that can be read.
    with JudgeServer(politely, faults=["mute", "garbage"]) as server:
        made = list(reworded(some(3), model(server, concurrency=1)))
    assert [task.question == before.question for task, before in zip(made, some(3), strict=True)] == [True, False, False]
    assert "no usable reply" in ledger_of(made[0]).gates[0].reason


def test_what_was_made_before_the_endpoint_dies_is_kept_and_not_asked_again(tmp_path: Path) -> None:
    made = []
    with (
        JudgeServer(politely, faults=chain(["none"] * 2, repeat("error"))) as server,
        pytest.raises(BrokenError, match="3 questions in a row"),
    ):
        for task in reworded(some(), model(server, concurrency=1, cache=tmp_path)):
            made.append(task)
    assert [task.question.startswith("Please") for task in made] == [True, True, False, False]
    with JudgeServer(politely) as again:
        endpoint = model(again, concurrency=1, cache=tmp_path)
        assert all(task.question.startswith("Please") for task in reworded(some(), endpoint))
    assert len(again.prompts) == endpoint.asked == 4


def test_a_budget_ends_a_run(tmp_path: Path) -> None:
    with JudgeServer(politely) as server:
        spent = reworded(some(), model(server, budget=4, cache=tmp_path))
        assert len([next(spent) for _ in range(4)]) == 4
        with pytest.raises(InputError, match="budget of 4 questions to scripted is spent"):
            next(spent)
        # What is known costs nothing.
        assert len(list(reworded(some(), model(server, budget=2, cache=tmp_path)))) == 6


def test_a_refused_key_is_said_at_once() -> None:
    with JudgeServer(politely, faults=repeat("denied")) as server, pytest.raises(InputError, match="401"):
        next(reworded(some(), model(server)))


def test_a_judgement_goes_to_the_ledger() -> None:
    first = some(3)[0].question

    def judge(prompt: str) -> str:
        if value(prompt, "Question") == some(3)[1].question:
            return "I do not know."
        return f"By rule.\nVerdict: {'no' if value(prompt, 'Question') == first else 'yes'}"

    with JudgeServer(judge) as server:
        made = list(judged(some(3), model(server, concurrency=1)))
    verdicts = [ledger_of(task).gates for task in made]
    assert [[verdict.passed for verdict in gates] for gates in verdicts] == [[False], [], [True]]
    assert verdicts[0][0].reason == "By rule. Verdict: no" and verdicts[0][0].evidence == ["scripted"]
    task, prompt = some(3)[0], server.prompts[0]
    assert value(prompt, "Answer") == task.answers[0] and len(value(prompt, "What it rests on")) == len(ledger_of(task).statements)
