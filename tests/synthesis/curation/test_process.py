"""The filter of trajectories: one fault at a time, each by hand."""

import pytest

from spadework.core.messages import Message, ToolCall, Turn
from spadework.synthesis.curation.process import Fault, ProcessFilter
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status, Trajectory

TASK = Task(id="t", question="Who?", answers=("Velor Tash",))


def attempt(*turns: tuple[str, str, str], answer: str = "velor tash", status: Status = Status.COMPLETED) -> Trajectory:
    """Turns of (what is written, the query, how the call ended), then an answer. Every node has 10 tokens."""
    made = Trajectory("t", status=status, answer=answer or None)  # its task names no evidence
    last = made.add("prompt", [0] * 10, parent=None).id
    for text, query, end in turns:
        turn = Turn(thought=text, calls=(ToolCall(name="search", arguments={"query": query}),))
        said = Message(role="assistant", content=text, turn=turn)
        last = made.add("generation", [1] * 10, parent=last, logprobs=[0.0] * 10, messages=[said]).id
        if end:
            seen = Message(role="tool", name="search", content="a page")
            last = made.add("observation", [2] * 10, parent=last, messages=[seen], meta={"calls": [{"tool": "search", "status": end}]}).id
    return made


GOOD = (("I look for the mayor.", "mayor", "ok"), ("Now the town.", "town", "ok"))
CIRCLE = "one two three four five six seven eight nine ten "


@pytest.mark.parametrize(
    ("trajectory", "options", "fault"),
    [
        (attempt(*GOOD), {}, ""),
        (attempt(*GOOD, answer="Ada"), {}, "the answer 'Ada' is wrong"),
        (attempt(*GOOD, answer="Ada"), {"outcome": False}, ""),
        (attempt(*GOOD, answer=""), {}, "it ended as completed and not with an answer"),
        (attempt(*GOOD, status=Status.TRUNCATED), {}, "it ended as truncated"),
        (attempt(GOOD[0], ("x", "town", "error")), {}, "a call of search ended as error"),
        (attempt(GOOD[0], ("x", "town", "")), {}, "a call of search ended as unanswered"),
        (attempt(GOOD[0], ("x", "mayor", "ok")), {}, "is made twice"),
        (attempt(("<tool_response>a page</tool_response>", "mayor", "ok")), {}, "the policy writes <tool_response> itself"),
        (attempt((CIRCLE * 2, "mayor", "ok")), {}, ""),
        (attempt((CIRCLE * 3, "mayor", "ok")), {}, "10 words in a row are written three times"),
        (attempt(*GOOD), {"fewest_calls": 3}, "2 calls are fewer than 3"),
        (attempt(*GOOD), {"most_tokens": 50}, ""),  # a prompt, two turns and two results of 10 tokens each
        (attempt(*GOOD), {"most_tokens": 49}, "50 tokens are more than 49"),
    ],
)
def test_one_fault_at_a_time(trajectory: Trajectory, options: dict[str, int], fault: str) -> None:
    found = ProcessFilter.model_validate(options).faults(TASK, trajectory)
    assert len(found) == bool(fault) and all(fault in one.text for one in found), found


def test_an_answer_before_its_evidence_is_a_guess() -> None:
    task = TASK.model_copy(update={"evidence": ("d1", "d2")})
    seen = attempt(*GOOD)
    assert ProcessFilter(evidence=False).faults(task, seen) == []
    assert ProcessFilter().faults(task, seen) == [Fault("guessed", "the page d1 of the evidence was never shown")]
    observations = [node for node in seen.nodes if node.kind == "observation"]
    observations[0].meta["documents"] = ["d1", "d9"]
    assert ProcessFilter().faults(task, seen) == [Fault("guessed", "the page d2 of the evidence was never shown")]
    observations[1].meta["documents"] = ["d2"]
    assert ProcessFilter().faults(task, seen) == []


def test_rejection_sampling_keeps_the_good_ones_in_order() -> None:
    made = [attempt(*GOOD, answer="Ada"), attempt(*GOOD), attempt(GOOD[0], GOOD[0]), attempt(GOOD[1])]
    assert ProcessFilter().kept(TASK, made) == [made[1], made[3]]
