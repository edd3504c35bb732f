from tests.synthesis.makers.drawn import draw, pages, world

from spadework.rewards.rltr import Rltr as Reward
from spadework.synthesis.ledger import ledger_of, rederive
from spadework.trajectories.tree import Trajectory


def test_the_page_of_what_the_request_is_about_is_evidence_too() -> None:
    for task in draw("rltr", world(), 60):
        (about,) = [key for key, names in ledger_of(task).names.items() if names == task.answers and key in task.evidence]
        assert task.evidence[-1] == about and rederive(task) == task.answers and 2 <= task.hops <= 4


def test_the_reward_reads_what_was_consulted_and_not_the_answer() -> None:
    (task,) = draw("rltr", world(), 1)
    assert Reward().completeness(task, Trajectory(task.id, answer=task.answers[0])) == 0


def test_on_documents() -> None:
    assert all(rederive(task) == task.answers and task.hops >= 2 for task in draw("rltr", pages(), 30))
