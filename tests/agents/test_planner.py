"""The planner is a pure function of the path: a table of paths and moves."""

from collections.abc import Sequence

from spadework.agents.agent import Act, Finish, Generate
from spadework.agents.planner import Planner, PlannerConfig
from spadework.core.messages import Message, ToolCall, Turn
from spadework.tasks.task import Task
from spadework.trajectories.tree import Node, Trajectory

SEARCH = ToolCall(name="search", arguments={"query": "x"})


def path(*steps: Turn | Sequence[str]) -> list[Node]:
    """A path of a prompt, then turns and observations; an observation is the statuses of its calls."""
    trajectory = Trajectory(task_id="t")
    trajectory.add("prompt", [1], parent=None)
    for step in steps:
        parent = trajectory.nodes[-1].id
        if isinstance(step, Turn):
            trajectory.add("generation", [2], parent=parent, logprobs=[0.0], messages=(Message(role="assistant", turn=step),))
        else:
            trajectory.add("observation", [3], parent=parent, meta={"calls": [{"status": status} for status in step]})
    return trajectory.path(trajectory.nodes[-1].id)


GOOD, BAD = Turn(calls=(SEARCH,)), Turn(error="no action")


def test_moves() -> None:
    planner = Planner()
    assert planner.next(path()) == Generate()
    assert planner.next(path(GOOD)) == Act((SEARCH,))
    assert planner.next(path(GOOD, ["ok"])) == Generate()
    assert planner.next(path(Turn(answer="Velor Tash"))) == Finish("Velor Tash")
    assert planner.next(path(Turn(answer=""))) == Finish("")


def test_a_turn_that_can_not_be_read_is_answered_with_the_reason() -> None:
    assert Planner().next(path(BAD)) == Act((ToolCall(name="", error="no action"),))


def test_it_gives_up_after_errors_in_a_row_only() -> None:
    planner = Planner(PlannerConfig(max_errors=2))
    assert planner.next(path(BAD, ["error"], BAD)) == Finish(None, error="no action")
    assert planner.next(path(BAD, ["error"], GOOD, ["ok"], BAD)) == Act((ToolCall(name="", error="no action"),))
    # Calls that the gateway refuses count as well, unless one of them went through.
    assert planner.next(path(GOOD, ["error"], GOOD, ["error", "error"])) == Finish(None, error="2 failed turns in a row")
    assert planner.next(path(GOOD, ["error"], GOOD, ["error", "ok"])) == Generate()
    assert planner.next(path(GOOD, ["error"], GOOD)) == Act((SEARCH,))


def test_the_opening() -> None:
    task = Task(id="t", question="Who?", answers=("x",))
    assert list(Planner().start(task, [])) == [Message(role="user", content="Who?")]
    told = Planner(PlannerConfig(instructions="Be brief.")).start(task, [])
    assert [(message.role, message.content) for message in told] == [("system", "Be brief."), ("user", "Who?")]
