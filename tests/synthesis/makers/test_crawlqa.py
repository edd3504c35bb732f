from collections import Counter

import pytest
from tests.synthesis.makers.drawn import draw, pages, world

from spadework.core.errors import ConfigError, InputError
from spadework.synthesis.ledger import ledger_of, rederive
from spadework.synthesis.makers.maker import makers
from spadework.tasks.task import Task


def kind(task: Task) -> str:
    operators = [edit.operator for edit in ledger_of(task).edits]
    return "count" if "count" in operators else "intersection" if "star" in operators else "multi-hop"


def test_types() -> None:
    assert min(Counter(map(kind, draw("crawlqa", world(), 200))).values()) >= 30
    assert set(map(kind, draw("crawlqa", world(), types=("count",)))) == {"count"}
    for task in draw("crawlqa", world(), types=("multi-hop",)):
        assert 2 <= len(task.meta["steps"]) == task.hops <= 4
    for task in draw("crawlqa", world(), types=("intersection",)):
        assert len(ledger_of(task).query.triples) in (2, 3)


def test_counts_are_numbers_from_2_to_9() -> None:
    assert {len(task.answers) for task in draw("crawlqa", world(), types=("count",))} == {1}
    assert all(2 <= int(task.answers[0]) <= 9 for task in draw("crawlqa", world(), types=("count",)))


def test_on_documents_nothing_is_counted() -> None:
    made = draw("crawlqa", pages(), 40)
    assert all(rederive(task) == task.answers for task in made) and "count" not in set(map(kind, made))
    with pytest.raises(InputError, match="has about 0 different tasks for maker 'crawlqa'"):
        draw("crawlqa", pages(), 1, types=("count",))


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="'types'"):
        makers.build("crawlqa", {"types": []})
