import pytest
from tests.synthesis.brute_force import Facts
from tests.synthesis.makers.drawn import draw, pages, world

from spadework.core.errors import InputError
from spadework.rewards.abstention import Abstention
from spadework.synthesis.ledger import ledger_of, rederive, with_ledger
from spadework.synthesis.makers.unanswerable import Unanswerable
from spadework.trajectories.tree import Trajectory


def test_twins_have_no_answer_and_the_questions_beside_them_have_one() -> None:
    facts = Facts(world().world)
    made = draw("unanswerable", world(), 150)
    twins = [task for task in made if task.meta.get("answerable") is False]
    assert 50 <= len(twins) <= 100
    for task in made[:80]:
        assert len(facts.targets(ledger_of(task).query)) == (task not in twins)
    for task in twins:
        assert task.answers[0] == "i do not know" and rederive(task) == task.answers
        assert task.meta["twin"]["question"] != task.question and task.meta["twin"]["answers"][0] not in task.question


def test_one_clue_was_changed_and_what_fitted_before_stands_in_the_evidence() -> None:
    changed = set()
    for task in draw("unanswerable", world(), answerable=0):
        kept = ledger_of(task)
        assert kept.edits[-1].operator == "change"
        changed.add(kept.edits[-1].did.split()[0].islower())
        names = [name for statement in kept.statements for key in (statement.subject, statement.object) for name in kept.names[key]]
        assert task.meta["twin"]["answers"][0] in names
    assert changed == {False, True}  # another name, another relation


def test_the_reward_pays_for_abstaining_from_a_twin() -> None:
    (task,) = draw("unanswerable", world(), 1, answerable=0)

    def pays(answer: str) -> float:
        return Abstention()(task, Trajectory(task.id, answer=answer))

    assert [pays(task.answers[0]), pays(task.meta["twin"]["answers"][0])] == [1.0, -1.0]


def test_a_ledger_that_gives_an_answer_is_an_error() -> None:
    (twin,) = draw("unanswerable", world(), 1, answerable=0)
    (answerable,) = draw("unanswerable", world(), 1, answerable=1)
    with pytest.raises(InputError, match="is said to have no answer, and its ledger gives"):
        rederive(with_ledger(twin, ledger_of(answerable)))


def test_documents_can_not_say_that_there_is_no_answer() -> None:
    assert Unanswerable.needs == "world"
    with pytest.raises(InputError, match="maker 'unanswerable' needs the graph of a world"):
        draw("unanswerable", pages(), 1)
