from spadework.tasks.stats import stats
from spadework.tasks.task import Task


def task(key: str, answer: str, words: int, **more: object) -> Task:
    return Task(id=key, question=" ".join(["w"] * words), answers=(answer,), **more)  # type: ignore[arg-type]


def test_counts_by_hand() -> None:
    gates = [["uniqueness", True, "", []], ["necessity", False, "", []]]
    made = [
        task("1", "Ada", 4, evidence=("a", "b"), hops=2, kind="x", meta={"level": 1, "ledger": {"gates": gates}}),
        task("2", "Ada", 9, evidence=("b",), kind="x", meta={"ledger": {"gates": gates[:1]}}),
        task("3", "Bo", 6, source="w"),
    ]
    found = stats(made)
    # Two of three tasks share an answer; pages a and b; 4, 6 and 9 words.
    assert found["n"] == 3 and found["kind"] == {"chain": 1, "x": 2} and found["hops"] == {"1": 2, "2": 1} and found["level"] == {"1": 1}
    assert found["answers"] == 2 and found["repeated_answers"] == 2 / 3 and found["pages"] == 2 and found["ledgers"] == 2
    assert found["words"] == {"least": 4, "median": 6, "most": 9}
    assert found["gates"] == {"uniqueness": {"passed": 2, "n": 2}, "necessity": {"passed": 0, "n": 1}}
