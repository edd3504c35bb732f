from tests.synthesis.makers.drawn import draw, pages, world

from spadework.synthesis.ledger import ledger_of, rederive


def test_a_look_up_is_edited_until_enough_pages_are_needed() -> None:
    made = draw("asearcher", world(), 80)
    assert {task.hops for task in made} <= {3, 4, 5, 6} and len({task.hops for task in made}) >= 3
    operators = {edit.operator for task in made for edit in ledger_of(task).edits}
    assert operators >= {"walk", "inject", "intersect", "obfuscate"}
    assert all(len(ledger_of(task).edits) - sum(e.operator == "prune" for e in ledger_of(task).edits) <= 17 for task in made)


def test_on_documents() -> None:
    assert all(rederive(task) == task.answers and 3 <= task.hops <= 6 for task in draw("asearcher", pages(), 30))
