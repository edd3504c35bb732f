import pytest
from tests.rewards.episodes import TASK, bad, episode, search

from spadework.core.errors import InputError
from spadework.synthesis.curation.process import ProcessFilter
from spadework.synthesis.demonstrations import best_of
from spadework.trajectories.tree import Group, Status, Trajectory

BOTH = (search("a", documents=("d1",)), search("b", documents=("d2", "d9")))


def grouped(*attempts: Trajectory) -> Group:
    for sample, attempt in enumerate(attempts):
        attempt.sample = sample
    return Group(TASK.id, list(attempts))


def test_the_shortest_right_attempt_without_a_fault_is_kept() -> None:
    attempts = (
        episode(*BOTH, search("c"), answer="Velor Tash"),  # three calls
        episode(*BOTH, answer="Velor Tash", tokens=3),  # two calls, 9 tokens
        episode(*BOTH, answer="Velor Tash", tokens=2),  # two calls, 6 tokens
        episode(search("a", documents=("d1", "d2")), answer="nobody"),  # one call, and wrong
        episode(search("a", documents=("d1",)), answer="Velor Tash"),  # one call, and a guess
    )
    chosen = best_of([grouped(*attempts)], {TASK.id: TASK})
    assert [one.sample for one in chosen.kept] == [2] and chosen.unsolved == []
    assert chosen.rejected == {"wrong": 1, "guessed": 1, "surplus": 2}
    # Attempts 1 and 2 make the same calls, so one of them is enough.
    more = best_of([grouped(*attempts)], {TASK.id: TASK}, keep=9)
    assert [one.sample for one in more.kept] == [2, 0] and more.rejected["surplus"] == 1
    lenient = best_of([grouped(*attempts)], {TASK.id: TASK}, process=ProcessFilter(outcome=False, evidence=False))
    assert [one.sample for one in lenient.kept] == [3] and lenient.rejected == {"surplus": 4}


def test_faults_have_names() -> None:
    def faults(*steps: object) -> list[str]:
        return [fault.kind for fault in ProcessFilter().faults(TASK, episode(*steps, answer="Velor Tash"))]  # type: ignore[arg-type]

    assert faults(*BOTH) == []
    assert faults(*BOTH, bad()) == ["malformed"]
    assert faults(*BOTH, search("c", status="error")) == ["failed call"]
    assert faults(*BOTH, search("a", documents=("d1",))) == ["repeated call"]
    assert faults(BOTH[0]) == ["guessed"]


def test_what_is_not_complete_is_never_kept() -> None:
    broken, cut = episode(*BOTH, answer="Velor Tash"), episode(*BOTH, answer=None)
    broken.status = Status.BROKEN
    chosen = best_of([grouped(broken, cut)], {TASK.id: TASK})
    assert chosen.kept == [] and chosen.unsolved == [TASK.id] and chosen.rejected == {"broken": 1, "truncated": 1, "surplus": 0}


def test_bad_input() -> None:
    group = grouped(episode(*BOTH, answer="Velor Tash"))
    with pytest.raises(InputError, match="not 0"):
        best_of([group], {TASK.id: TASK}, keep=0)
    with pytest.raises(InputError, match="task 't' is not among"):
        best_of([group], {})
