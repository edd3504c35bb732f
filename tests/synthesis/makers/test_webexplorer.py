from tests.synthesis.makers.drawn import draw, pages, world

from spadework.synthesis.ledger import ledger_of, rederive


def test_evolved_questions_say_less() -> None:
    made = draw("webexplorer", world(), 80)
    evolved = [edit for task in made for edit in ledger_of(task).edits if edit.operator == "evolve"]
    assert any(edit.after < edit.before for edit in evolved) and any("vague" in edit.did for edit in evolved)
    assert all(1 <= sum(edit.operator == "evolve" for edit in ledger_of(task).edits) <= 5 for task in made)


def test_on_documents() -> None:
    assert all(rederive(task) == task.answers and task.hops >= 2 for task in draw("webexplorer", pages(), 30))
