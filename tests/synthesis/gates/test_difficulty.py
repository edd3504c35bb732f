"""Gates on how hard a task is, and on how it is worded: every rule by hand."""

import pytest

from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.synthesis.curation.curate import curate
from spadework.synthesis.gates.difficulty import difficulty
from spadework.synthesis.gates.gate import Ground, gates
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status, Trajectory

TASK = Task(id="t", question="Who is the mayor of Kedun?", answers=("Velor Tash",), evidence=("b",))


def attempts(marks: str) -> Ground:
    """One attempt per mark: right (+), wrong (-), without an answer (0), broken (x)."""
    answers = {"+": "velor tash", "-": "Ada", "0": None, "x": "velor tash"}
    made = [
        Trajectory("t", n, status=Status.BROKEN if mark == "x" else Status.COMPLETED, answer=answers[mark]) for n, mark in enumerate(marks)
    ]
    return Ground(attempts={"t": made, "other": made})


def fate(name: str, ground: Ground, task: Task = TASK, **options: object) -> str:
    [decision] = curate([task], [gates.build(name, options)], ground)
    return decision.fate


@pytest.mark.parametrize(
    ("marks", "options", "expected"),
    [
        ("+-", {}, "kept"),
        ("++", {}, "dropped"),
        ("-0", {}, "dropped"),
        ("+x", {}, "dropped"),  # one attempt, and it is right
        ("x", {}, "undecided"),
        ("+++++", {"spare": 0}, "kept"),
        ("-----", {"spare": 0}, "dropped"),
        ("--------", {"fewest": 0}, "kept"),
        ("++++++++", {"fewest": 0}, "dropped"),
        ("++-", {"fewest": 2, "spare": 2}, "dropped"),
    ],
)
def test_pass_rate(marks: str, options: dict[str, int], expected: str) -> None:
    assert fate("pass-rate", attempts(marks), **options) == expected


@pytest.mark.parametrize(("marks", "expected"), [("----", "kept"), ("---+", "dropped"), ("---x", "undecided"), ("+", "dropped")])
def test_tool_aided(marks: str, expected: str) -> None:
    assert fate("tool-aided", attempts(marks)) == expected


def test_rollouts_to_the_first_success() -> None:
    bins = [difficulty([False] * wrong + [True]) for wrong in (0, 8, 9, 19, 20)]
    assert bins == ["easy", "easy", "medium", "medium", "hard"] and difficulty([False] * 30) is None
    assert fate("first-success", attempts("-+")) == "dropped"
    assert fate("first-success", attempts("-+"), keeps=["easy"]) == "kept"
    assert fate("first-success", attempts("---"), keeps=["easy", "medium", "hard"]) == "dropped"
    assert fate("first-success", attempts("-" * 9 + "+")) == "kept"


def test_a_task_that_nobody_tried_is_undecided() -> None:
    assert fate("pass-rate", attempts("+-"), TASK.model_copy(update={"id": "untried"})) == "undecided"


def test_naive_rag() -> None:
    corpus = MemoryCorpus(
        [
            Document(id="a", title="Velor Tash", text="Velor Tash was born in Ondal Brin."),
            Document(id="b", title="Kedun", text="Kedun is a town. Its mayor is Velor Tash."),
            Document(id="c", title="Ondal Brin", text="Ondal Brin is a village of 400 people, known for its cheese."),
        ]
    )
    where = Ground(pages=corpus, corpus=corpus)
    assert fate("naive-rag", where) == "dropped"
    hidden = TASK.model_copy(update={"question": "Who leads the place by the sea?", "evidence": ("c",)})
    assert fate("naive-rag", where, hidden) == "kept"
    two = Task(id="t", question="Where was the mayor of Kedun born?", answers=("Ondal Brin",), evidence=("b", "a"))
    assert fate("naive-rag", where, two, hits=1) == "kept"  # the first hit is Kedun, the answer is on the other page
    assert fate("naive-rag", where, two, hits=3) == "dropped"
    number = Task(id="t", question="How many people live in the village Ondal Brin?", answers=("400",), evidence=("b", "c"))
    assert fate("naive-rag", where, number, hits=1) == "kept"


@pytest.mark.parametrize(
    ("question", "time", "opinion"),
    [
        ("Who is the current mayor of Kedun?", "dropped", "kept"),
        ("Which is the latest film of Velor Tash?", "dropped", "kept"),
        ("Which state does the Current River rise in?", "kept", "kept"),
        ("Who was mayor in 1926?", "kept", "kept"),
        ("What is the best restaurant of Kedun?", "kept", "dropped"),
        ("Should Kedun have a mayor?", "kept", "dropped"),
        ("Who won the Academy Award for Best Actor in 1926?", "kept", "kept"),
        ("What is the best-selling book of 1926?", "kept", "kept"),
    ],
)
def test_wording(question: str, time: str, opinion: str) -> None:
    task = Task(id="t", question=question, answers=("x",))
    assert (fate("time-sensitive", Ground(), task), fate("subjective", Ground(), task)) == (time, opinion)
