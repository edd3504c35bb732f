import pytest
from tests.synthesis.makers.drawn import draw, pages, world

from spadework.core.errors import ConfigError
from spadework.synthesis.ledger import ledger_of, rederive
from spadework.synthesis.makers.maker import makers


def test_objectives() -> None:
    for objectives in (2, 5):
        for task in draw("mem1", world(), 40, objectives=objectives):
            assert len(task.meta["items"]) == len(ledger_of(task).query.parts) == objectives
            assert task.answers == ("; ".join(item[0] for item in task.meta["items"]),)
            assert f"({objectives})" in task.question and "semicolons" in task.question
            assert 2 <= task.hops <= 2 * objectives


def test_no_answer_is_asked_for_twice() -> None:
    for task in draw("mem1", world(), 100, objectives=8):
        assert len({item[0] for item in task.meta["items"]}) == 8


def test_on_documents() -> None:
    for task in draw("mem1", pages(), 30):
        assert rederive(task) == task.answers and len(task.meta["items"]) == 2


def test_one_objective_is_none() -> None:
    with pytest.raises(ConfigError, match="'objectives': Input should be greater than or equal to 2"):
        makers.build("mem1", {"objectives": 1})
