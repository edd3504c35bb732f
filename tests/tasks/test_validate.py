from collections.abc import Iterable

import pytest

from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.tasks.task import Task
from spadework.tasks.validate import validate

CORPUS = MemoryCorpus(
    [
        Document(id="a", title="Ondal Brin", text="Ondal Brin mayor Velor Tash."),
        Document(id="b", title="Art", text="An artist of Tashkent"),
    ]
)
GOOD = Task(id="t", question="Who is the mayor of Ondal Brin?", answers=("Velor Tash",), evidence=("a",))


def exact(prediction: str, golds: Iterable[str]) -> float:
    return float(prediction.lower() in {gold.lower() for gold in golds})


def test_a_good_task() -> None:
    assert validate(GOOD, CORPUS, exact) == []
    assert validate(GOOD.model_copy(update={"answers": ("ONDAL brin",)}), CORPUS, exact) == []  # the title is part of a page


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"evidence": ("a", "zzz")}, "evidence 'zzz' is not in the corpus"),
        ({"evidence": ("Ondal Brin",)}, "evidence 'Ondal Brin' is not in the corpus"),  # a title is no id
        ({"evidence": ()}, "a chain task needs evidence"),
        ({"answers": ("Suka Mor",)}, "answer 'Suka Mor' stands on no evidence page"),
        ({"answers": ("Velor Tas",)}, "answer 'Velor Tas' stands on no evidence page"),  # whole words only
        ({"question": " "}, "the question is empty"),
        ({"answers": ("Velor Tash", "")}, "wrong answer '' scores 1"),
    ],
)
def test_bad_tasks(change: dict[str, object], problem: str) -> None:
    assert problem in validate(GOOD.model_copy(update=change), CORPUS, exact)


def test_computed_answers_need_not_stand_on_a_page() -> None:
    assert validate(GOOD.model_copy(update={"answers": ("3",), "kind": "count"}), CORPUS, exact) == []


def test_scorers_that_do_not_judge() -> None:
    assert validate(GOOD, CORPUS, lambda prediction, golds: 0.5) == ["gold answer 'Velor Tash' scores 0.5, not 1"]
    assert len(validate(GOOD, CORPUS, lambda prediction, golds: 1.0)) == 2  # both wrong answers count as right
