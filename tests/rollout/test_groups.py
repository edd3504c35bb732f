"""Groups come in declared order whatever the timing, and one trajectory's failure is nobody else's."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from spadework.agents.planner import Planner
from spadework.core.errors import BrokenError, InputError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.core.seeds import derive_seed
from spadework.engines.engine import Completion, Request, SamplingParams
from spadework.engines.scripted import ScriptedEngine
from spadework.models.renderers.tags import TagsRenderer
from spadework.rollout.driver import Limits
from spadework.rollout.groups import rollout, run_rollout
from spadework.tasks.task import Task
from spadework.tools.function import tool
from spadework.tools.gateway import Gateway
from spadework.trajectories.tree import Group, Status, Trajectory

TASKS = [Task(id=f"t{number}", question=f"Question {number}?", answers=("x",)) for number in range(5)]


@tool
def search(query: str) -> str:
    """Search.

    Args:
        query: What for.
    """
    return f"about {query}"


class Uneven(ScriptedEngine):
    """Searches for a number that depends on the seed, then answers with it; requests take turns to overtake each other."""

    def __init__(self, renderer: TagsRenderer, broken: str = "", bug: str = "") -> None:
        super().__init__(self._reply)
        self.renderer, self.broken, self.bug = renderer, broken, bug
        self.running = self.most = 0

    def _reply(self, request: Request) -> list[int]:
        if "about" in self.renderer.text(request.token_ids):
            return self.renderer.write(Turn(answer=str(request.seed % 100)))
        return self.renderer.write(Turn(calls=(ToolCall(name="search", arguments={"query": "it"}),)))

    async def generate(self, request: Request) -> Completion:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(derive_seed(request.label) % 7):
                await asyncio.sleep(0)
            if request.label == self.broken:
                raise BrokenError("gone")
            if request.label == self.bug:
                raise ZeroDivisionError
            return await super().generate(request)
        finally:
            self.running -= 1


def options(renderer: TagsRenderer, engine: ScriptedEngine) -> dict[str, Any]:
    gateway = Gateway([search])
    return {"agent": Planner(), "engine": engine, "renderer": renderer, "gateway": gateway, "params": SamplingParams(), "limits": Limits()}


def content(groups: list[Group]) -> list[Any]:
    return [
        (group.key, [(t.task_id, t.sample, t.status, t.answer, t.error, [node.token_ids for node in t.nodes]) for t in group])
        for group in groups
    ]


def test_the_result_does_not_depend_on_concurrency(renderer: TagsRenderer) -> None:
    results = []
    for concurrency in (1, 3, 64):
        engine = Uneven(renderer)
        arrived: list[Trajectory] = []
        groups = run_rollout(TASKS, num_samples=3, seed=1, concurrency=concurrency, progress=arrived.append, **options(renderer, engine))
        assert engine.most == min(concurrency, 15)
        assert [group.key for group in groups] == ["t0", "t1", "t2", "t3", "t4"]
        assert [[t.sample for t in group] for group in groups] == [[0, 1, 2]] * 5
        assert {id(t) for t in arrived} == {id(t) for group in groups for t in group}
        results.append(content(groups))
    assert results[0] == results[1] == results[2]
    # Every sample has its own stream: the answers are the seeds of second turns.
    assert results[0][0][1][2][3] == str(derive_seed(1, "t0", 2, 1) % 100)
    other = content(run_rollout(TASKS, num_samples=3, seed=2, **options(renderer, Uneven(renderer))))
    assert other != results[0]


def test_a_broken_trajectory_leaves_its_siblings_alone(renderer: TagsRenderer) -> None:
    good = run_rollout(TASKS, num_samples=3, **options(renderer, Uneven(renderer)))
    groups = run_rollout(TASKS, num_samples=3, **options(renderer, Uneven(renderer, broken="t2/1")))
    assert groups[2].trajectories[1].status is Status.BROKEN
    groups[2].trajectories[1] = good[2].trajectories[1]
    assert content(groups) == content(good)


def test_a_bug_stops_the_rollout_and_leaves_nothing_running(renderer: TagsRenderer) -> None:
    engine = Uneven(renderer, bug="t1/0")

    async def attempt() -> int:
        with pytest.raises(ZeroDivisionError):
            await rollout(TASKS, num_samples=3, **options(renderer, engine))
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(attempt()) == 0
    assert engine.running == 0


def test_a_task_that_stands_twice_is_refused(renderer: TagsRenderer) -> None:
    with pytest.raises(InputError, match="task 't1' stands twice"):
        run_rollout([*TASKS, TASKS[1]], num_samples=1, **options(renderer, Uneven(renderer)))
    assert run_rollout([], num_samples=3, **options(renderer, Uneven(renderer))) == []


class Numbers:
    """A renderer that costs nothing: token 0 is a search, token 1 is an answer."""

    name, stop, stop_token_ids, vocab_size = "numbers", (), (), 3
    turns = (Turn(calls=(ToolCall(name="search", arguments={"query": "it"}),)), Turn(answer="x"))
    prompt: Callable[..., list[int]] = staticmethod(lambda messages, tools=(): [2] * 30)
    extend: Callable[..., list[int]] = staticmethod(lambda turn_ids, messages: [2] * 20)
    text: Callable[..., str] = staticmethod(lambda token_ids: "text")

    def parse(self, token_ids: list[int]) -> Turn:
        return self.turns[token_ids[0]]

    def write(self, turn: Turn) -> list[int]:
        return [self.turns.index(turn)]


def test_the_driver_costs_less_than_a_quarter_of_a_millisecond_per_turn() -> None:
    renderer = Numbers()
    engine = ScriptedEngine(lambda request: [1] * 15 if len(request.token_ids) > 80 else [0] * 15)
    tasks = [Task(id=f"t{number}", question="?", answers=("x",)) for number in range(25)]
    seconds = []
    for _ in range(3):
        start = time.process_time()
        groups = run_rollout(tasks, num_samples=8, **options(renderer, engine))  # type: ignore[arg-type]
        seconds.append(time.process_time() - start)
    assert [t.num_turns for group in groups for t in group] == [3] * 200
    assert min(seconds) < 0.15


def test_messages_are_shared_with_nobody(renderer: TagsRenderer) -> None:
    groups = run_rollout(TASKS[:1], num_samples=2, **options(renderer, Uneven(renderer)))
    first, second = groups[0]
    assert first.nodes[0].token_ids is not second.nodes[0].token_ids
    assert first.nodes[0].messages == (Message(role="user", content="Question 0?"),)
