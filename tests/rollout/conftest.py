import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from spadework.agents.planner import Planner
from spadework.core.errors import BrokenError
from spadework.core.messages import ToolCall, Turn
from spadework.core.seeds import derive_seed, rng
from spadework.engines.engine import Completion, Request, SamplingParams
from spadework.engines.scripted import ScriptedEngine
from spadework.models.renderers.tags import TagsRenderer
from spadework.models.tokenizer import train_tokenizer
from spadework.rollout.driver import Limits
from spadework.rollout.groups import run_rollout
from spadework.rollout.strategy import Strategy
from spadework.tasks.task import Task
from spadework.tools.function import tool
from spadework.tools.gateway import Gateway
from spadework.trajectories.tree import Group


@pytest.fixture(scope="session")
def renderer() -> TagsRenderer:
    return TagsRenderer(train_tokenizer(["Ondal Brin mayor Velor Tash. Who is the mayor of Ondal Brin?"] * 2, vocab_size=400))


@tool
def search(query: str) -> str:
    """Search.

    Args:
        query: What for.
    """
    return f"about {query}"


class Unsure(ScriptedEngine):
    """Searches or answers, with entropies, all by the seed of the turn; requests take turns to overtake each other.

    `searches`: as many and then an answer, instead. `failing`: label of a trajectory -> turn that raises instead of being sampled.
    """

    def __init__(self, renderer: TagsRenderer, searches: int | None, failing: Mapping[str, tuple[int, Exception]]) -> None:
        super().__init__(self._reply)
        self.renderer, self.searches, self.failing = renderer, searches, failing
        self.requests: list[Request] = []
        self.sampled = self.running = 0

    def _turn(self, request: Request) -> int:
        return self.renderer.text(request.token_ids).count("<information>")

    def _reply(self, request: Request) -> list[int]:
        ends = rng(request.seed, "ends").random() < 0.3 if self.searches is None else self._turn(request) >= self.searches
        if ends:
            return self.renderer.write(Turn(answer=str(request.seed % 1000)))
        return self.renderer.write(Turn(calls=(ToolCall(name="search", arguments={"query": str(request.seed % 1000)}),)))

    async def generate(self, request: Request) -> Completion:
        self.running += 1
        try:
            for _ in range(derive_seed(request.label, request.seed) % 7):
                await asyncio.sleep(0)
            turn, error = self.failing.get(request.label, (None, None))
            if error is not None and turn == self._turn(request):
                raise error
            completion = await super().generate(request)
            completion.entropies = [rng(request.seed, "entropy", i).uniform(0, 3) for i in range(len(completion.token_ids))]
            self.requests.append(request)
            self.sampled += len(completion.token_ids)
            return completion
        finally:
            self.running -= 1


@pytest.fixture
def unsure(renderer: TagsRenderer) -> Callable[..., Unsure]:
    return lambda searches=None, failing=(): Unsure(renderer, searches, dict(failing))


Sample = Callable[..., list[Group]]


@pytest.fixture
def sample(renderer: TagsRenderer) -> Sample:
    """Roll a strategy out over tasks `t0`, `t1` ..."""

    def sample(engine: Unsure, strategy: Strategy, num_samples: int, *, tasks: int = 1, **options: Any) -> list[Group]:
        return run_rollout(
            [Task(id=f"t{number}", question=f"Question {number}?", answers=("x",)) for number in range(tasks)],
            num_samples=num_samples,
            strategy=strategy,
            agent=Planner(),
            engine=engine,
            renderer=renderer,
            gateway=Gateway([search]),
            params=SamplingParams(),
            **{"limits": Limits(max_turns=5), "seed": 1, **options},
        )

    return sample


@pytest.fixture(scope="session")
def broken() -> Exception:
    return BrokenError("gone")
