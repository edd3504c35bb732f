import pytest
from tests.rewards.episodes import TASK, bad, episode, search

from spadework.core.errors import InputError
from spadework.synthesis.demonstrations import best_of, process_fault
from spadework.trajectories.tree import Group, Status, Trajectory

BOTH = (search("a", documents=("d1",)), search("b", documents=("d2", "d9")))


def scored(*attempts: Trajectory, wrong: tuple[int, ...] = ()) -> Group:
    for sample, attempt in enumerate(attempts):
        attempt.sample, attempt.reward = sample, float(sample not in wrong)
    return Group(TASK.id, list(attempts))


def test_the_shortest_right_attempt_without_a_fault_is_kept() -> None:
    attempts = (
        episode(*BOTH, search("c"), answer="Velor Tash"),  # three calls
        episode(*BOTH, answer="Velor Tash", tokens=3),  # two calls, 9 tokens
        episode(*BOTH, answer="Velor Tash", tokens=2),  # two calls, 6 tokens
        episode(search("a", documents=("d1", "d2")), answer="nobody"),  # one call, and wrong
        episode(search("a", documents=("d1",)), answer="Velor Tash"),  # one call, and a guess
    )
    chosen = best_of([scored(*attempts, wrong=(3,))], {TASK.id: TASK})
    assert [one.sample for one in chosen.kept] == [2] and chosen.unsolved == []
    assert chosen.rejected == {"wrong": 1, "guessed": 1, "surplus": 2}
    assert [one.sample for one in best_of([scored(*attempts, wrong=(3,))], {TASK.id: TASK}, keep=9).kept] == [2, 1, 0]


def test_faults_have_names() -> None:
    def fault(*steps: object) -> str:
        return process_fault(episode(*steps, answer="Velor Tash"), TASK)  # type: ignore[arg-type]

    assert fault(*BOTH) == ""
    assert fault(*BOTH, bad()) == "malformed"
    assert fault(*BOTH, search("c", status="error")) == "tool error"
    assert fault(*BOTH, search("a", documents=("d1",))) == "repeated call"
    assert fault(BOTH[0]) == "guessed"
    assert process_fault(episode(answer="x"), TASK.model_copy(update={"evidence": ()})) == ""


def test_what_is_not_complete_is_never_kept() -> None:
    broken, cut = episode(*BOTH, answer="Velor Tash"), episode(*BOTH, answer=None)
    broken.status = Status.BROKEN
    chosen = best_of([scored(broken, cut)], {TASK.id: TASK})
    assert chosen.kept == [] and chosen.unsolved == [TASK.id] and chosen.rejected == {"broken": 1, "truncated": 1, "surplus": 0}


def test_bad_input() -> None:
    group = scored(episode(*BOTH, answer="Velor Tash"))
    with pytest.raises(InputError, match="not 0"):
        best_of([group], {TASK.id: TASK}, keep=0)
    with pytest.raises(InputError, match="task 't' is not among"):
        best_of([group], {})
