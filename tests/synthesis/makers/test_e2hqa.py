from collections import Counter

from tests.synthesis.makers.drawn import draw, pages, world

from spadework.synthesis.ledger import ledger_of, rederive


def test_every_round_is_a_page_more() -> None:
    for rounds in (0, 1, 3):
        made = draw("e2hqa", world(), rounds=(rounds, rounds))
        assert {task.hops for task in made} == {rounds + 1}
        assert all([edit.operator for edit in ledger_of(task).edits] == ["walk", *["link"] * rounds] for task in made)
    assert set(Counter(task.hops for task in draw("e2hqa", world(), 150))) == {2, 3, 4, 5}


def test_on_documents() -> None:
    made = draw("e2hqa", pages(), 40)
    assert all(rederive(task) == task.answers and 2 <= task.hops <= 5 for task in made)
    assert all(name not in task.question for task in made for name in pages().names(task.evidence[-1]))
