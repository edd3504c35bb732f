"""Gates that ask a model, over HTTP with faults: what is kept, dropped and left undecided, and what is asked."""

import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.rewards.judge_server import Fault, JudgeServer
from spadework.synthesis.curation.curate import Decision, curate
from spadework.synthesis.gates.closed_book import knows
from spadework.synthesis.gates.gate import Ground, gates
from spadework.synthesis.ledger import ledger_of
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.statements import WorldGraph
from spadework.tasks.task import Task

ASKING = ("alternatives", "closed-book", "judged", "subjective", "time-sensitive")
PAGES = MemoryCorpus(
    [
        Document(id="a", title="Lamp One", text="Lamp One is a late film that was directed by Ada Moon."),
        Document(id="b", title="Lamp Two", text="Lamp Two is a film that was directed by Ada Moon."),
        Document(id="c", title="Ada Moon", text="Ada Moon directed films."),
        Document(id="d", title="Port Vale", text="Port Vale is a town with a late lamp."),
    ]
)
FILM = Task(id="film", question="Which late film was directed by Ada Moon?", answers=("Lamp One",), evidence=("a",))
YEAR = Task(id="year", question="When was Port Vale founded?", answers=("1320",), evidence=("d",))
BOTH = FILM.model_copy(update={"id": "both", "question": "Which films?", "meta": {"items": [["Lamp One"], ["Lamp Two", "The Second"]]}})
TWIN = FILM.model_copy(update={"id": "twin", "question": "Which film lit Port Vale?", "meta": {"answerable": False}})


def value(prompt: str, name: str) -> Any:
    found = re.search(rf"^{re.escape(name)}: (.*)$", prompt, re.MULTILINE)
    return json.loads(found[1]) if found else None


def decide(
    name: str,
    reply: Callable[[str], str],
    asked: Iterable[Task] = (FILM,),
    *,
    faults: Iterable[Fault] = (),
    endpoint: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[list[Decision], list[str]]:
    """What a gate decides, and what it has asked."""
    with JudgeServer(reply, faults=faults) as server:
        values = {"url": server.url, "model": "scripted", "backoff": 0.0, "deadline": 10.0, "retries": 0, "concurrency": 1}
        gate = gates.build(name, {"endpoint": values | (endpoint or {}), **options})
        return list(curate(asked, [gate], Ground(pages=PAGES, corpus=PAGES))), server.prompts


def fates(decisions: list[Decision]) -> list[str]:
    return [decision.fate for decision in decisions]


def verdict(answer: str) -> Callable[[str], str]:
    return lambda prompt: f"By rule.\nVerdict: {answer}\nAnswer: unknown"


@cache
def made() -> tuple[Task, ...]:
    return tuple(tasks(makers.build("sailorfog"), WorldGraph(build_world(WorldConfig(seed=3, pages=1000))), seed=0, n=6))


@pytest.mark.parametrize("name", ["judged", "subjective", "time-sensitive"])
def test_a_model_says_yes_or_no(name: str) -> None:
    [kept], _ = decide(name, verdict("yes"))
    [dropped], prompts = decide(name, verdict("no"))
    assert (kept.fate, dropped.fate) == ("kept", "dropped") and "By rule." in dropped.why
    assert value(prompts[0], "Question") == FILM.question and len(prompts) == 1


def test_words_decide_where_nobody_is_asked_and_only_there() -> None:
    task = FILM.model_copy(update={"question": "What is the best song of the current king?"})
    for name in ("subjective", "time-sensitive"):
        [decision] = curate([task], [gates.build(name)], Ground())
        assert decision.fate == "dropped" and fates(decide(name, verdict("yes"), [task])[0]) == ["kept"]


def test_a_judge_is_shown_what_the_answer_rests_on() -> None:
    _, prompts = decide("judged", verdict("yes"))
    assert value(prompts[0], "What it rests on") == [f"Lamp One: {PAGES.get('a').text}"]  # type: ignore[union-attr]
    decisions, prompts = decide("judged", verdict("yes"), made())
    for task, prompt, decision in zip(made(), prompts, decisions, strict=True):
        ledger = ledger_of(task)
        assert len(value(prompt, "What it rests on")) == len(ledger.statements) and value(prompt, "Answer") == task.answers[0]
        assert ledger_of(decision.task).gates[-1][:2] == ("judged", True)
    [twin], prompts = decide("judged", verdict("no"), [TWIN])
    assert twin.fate == "kept" and not prompts
    with pytest.raises(InputError, match="none of its evidence is among these pages"):
        decide("judged", verdict("yes"), [FILM.model_copy(update={"evidence": ("gone",)})])


@pytest.mark.parametrize(
    ("answer", "task", "known"),
    [
        ("It is Lamp One, I think", FILM, True),
        ("Lamp", FILM, False),
        ("lamp one's", FILM, True),
        ("1320", YEAR, True),
        ("in 1320 or 1321", YEAR, False),  # a number must be all of it
        ("Lamp One; The Second", BOTH, True),
        ("Lamp One", BOTH, False),
    ],
)
def test_what_it_means_to_know_an_answer(answer: str, task: Task, known: bool) -> None:
    assert knows(answer, task) is known


def test_what_is_known_at_any_attempt_is_dropped_and_not_asked_again() -> None:
    asked: dict[str, int] = {}

    def sometimes(prompt: str) -> str:
        question = value(prompt, "Question")
        asked[question] = asked.get(question, 0) + 1
        right = asked[question] == {FILM.question: 3, YEAR.question: 9}[question]
        return f"Answer: {'Lamp One' if right and question == FILM.question else 'no idea'}"

    decisions, _ = decide("closed-book", sometimes, [FILM, YEAR, TWIN], attempts=5)
    assert fates(decisions) == ["dropped", "kept", "kept"] and asked == {FILM.question: 3, YEAR.question: 5}
    assert "at attempt 3" in decisions[0].why and "in 5 attempts" in decisions[1].task.meta["gates"][0][2]


def test_attempts_are_samples(tmp_path: Path) -> None:
    gate = gates.build("closed-book", {"endpoint": {"url": "http://127.0.0.1:9/v1", "model": "m", "cache": tmp_path}, "attempts": 3})
    gate.open(Ground())
    endpoints = [replies.endpoint for replies in gate._samples]  # type: ignore[attr-defined]
    assert [(one.temperature, one.seed, one.cache) for one in endpoints] == [(1.0, seed, tmp_path) for seed in range(3)]
    # A lacking attempt leaves the task undecided, unless another one is right.
    for faults, fate in ((["none", "error", "none"], "undecided"), (["error", "none", "none"], "undecided"), ([], "kept")):
        assert fates(decide("closed-book", verdict("no"), faults=faults, attempts=3)[0]) == [fate]
    assert fates(decide("closed-book", lambda _: "Answer: Lamp One", faults=["error"], attempts=3)[0]) == ["dropped"]


def test_candidates_are_other_hits_and_wrong_guesses() -> None:
    def judge(prompt: str) -> str:
        candidate = value(prompt, "Candidate")
        return "Answer: Boy, 1931" if candidate is None else f"By rule.\nVerdict: {'yes' if candidate == 'Lamp Two' else 'no'}"

    [dropped], prompts = decide("alternatives", judge, hits=5)
    assert dropped.fate == "dropped" and dropped.task.meta["gates"][0][3] == ["Lamp Two"]
    candidates = {value(prompt, "Candidate"): prompt for prompt in prompts[1:]}
    assert set(candidates) == {"Lamp Two", "Ada Moon", "Port Vale", "Boy, 1931"}  # all but the answer and the evidence
    assert value(candidates["Lamp Two"], "What pages say of the candidate") == [f"Lamp Two: {PAGES.get('b').text}"]  # type: ignore[union-attr]
    assert value(candidates["Boy, 1931"], "Intended answer") == "Lamp One" and value(prompts[0], "Candidate") is None
    [kept], prompts = decide("alternatives", verdict("no"), hits=1)
    assert kept.fate == "kept" and len(prompts) == 2  # "unknown" is no candidate
    decisions, prompts = decide("alternatives", judge, [YEAR, BOTH, TWIN])
    assert fates(decisions) == ["kept"] * 3 and not prompts


def test_alternatives_without_a_reply_are_undecided_unless_one_fits() -> None:
    def judge(prompt: str) -> str:
        return "Answer: unknown" if (name := value(prompt, "Candidate")) is None else f"Verdict: {'yes' if name == 'Lamp Two' else 'no'}"

    first = decide("alternatives", judge, hits=2)[1]
    assert [value(prompt, "Candidate") for prompt in first] == [None, "Ada Moon", "Lamp Two"]
    assert fates(decide("alternatives", judge, hits=2, faults=["none", "mute"])[0]) == ["dropped"]
    assert fates(decide("alternatives", judge, hits=2, faults=["none", "none", "mute"])[0]) == ["undecided"]
    assert fates(decide("alternatives", verdict("no"), hits=2, faults=["garbage"])[0]) == ["undecided"]


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize("fault", ["error", "busy", "drop", "garbage", "mute", "empty", "refused", "silent"])
def test_what_infrastructure_does_wrong_is_no_verdict(name: str, fault: Fault) -> None:
    options = {"attempts": 1} if name == "closed-book" else {}
    deadline = {"deadline": 0.2 if fault == "silent" else 10.0}
    [decision], _ = decide(name, verdict("yes"), faults=repeat(fault), endpoint=deadline, **options)
    assert (decision.fate, decision.gate) == ("undecided", name)
    assert ("refused a question" if fault == "refused" else "no usable reply") in decision.why
    # One more try is enough.
    again = {"retries": 0 if fault == "refused" else 1, "deadline": 10.0}
    if fault not in ("refused", "silent"):
        [decision], _ = decide(name, verdict("yes"), faults=[fault], endpoint=again, **options)
        assert decision.fate != "undecided"


@pytest.mark.parametrize("name", ASKING)
def test_a_dead_endpoint_is_asked_a_few_times_and_the_rest_is_undecided(name: str, tmp_path: Path) -> None:
    many = [FILM.model_copy(update={"id": str(number), "question": f"Which film {number}?"}) for number in range(300)]
    options = {"attempts": 4} if name == "closed-book" else {"hits": 1} if name == "alternatives" else {}
    decisions, prompts = decide(
        name, verdict("yes"), many, faults=chain(["none"] * 3, repeat("drop")), endpoint={"cache": tmp_path}, **options
    )
    assert len(decisions) == 300 and len(prompts) == 3 + 8  # Model.patience
    decided = 0 if name in ("closed-book", "alternatives") else 3
    assert fates(decisions).count("undecided") == 300 - decided
    # With the replies that there are, only the others are asked.
    decisions, prompts = decide(name, verdict("yes"), many[:20], endpoint={"cache": tmp_path}, **options)
    assert "undecided" not in fates(decisions)
    assert len(prompts) == {"closed-book": 80 - 3, "alternatives": 40 - 3}.get(name, 20 - 3)


def test_what_was_answered_in_the_batch_in_which_it_died_counts() -> None:
    many = [FILM.model_copy(update={"id": str(number), "question": f"Which film {number}?"}) for number in range(20)]
    decisions, _ = decide("judged", verdict("yes"), many, faults=chain(["none"] * 5, repeat("drop")), endpoint={"concurrency": 16})
    assert fates(decisions).count("kept") == 5


def test_a_refused_key_ends_the_run() -> None:
    with pytest.raises(InputError, match="401"):
        decide("judged", verdict("yes"), faults=["denied"])
