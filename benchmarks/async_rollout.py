"""Rollouts with slow tools: a trajectory that waits for its own calls only, beside lock-step turns in which all wait for the slowest.

The same tiny model in the same local engine, the same driver and gateway, the same trajectories and the same latency of every call
(lognormal, drawn from the trajectory and the index of its call). Lock-step is how batched rollouts work: sample a turn of everybody,
carry out all calls, go on when the last one is back.

Two rows. In the first, trajectories follow each other: `in_flight` at a time, a new one starts when one ends; lock-step takes them in
batches of this size. In the second there is one batch only, and its end is that of its slowest trajectory on both sides: without any
computing the ratio would be E[sum over turns of the slowest call] / E[slowest sum over turns] = 9.3 s / 4.8 s = 1.95 (64 x 4 lognormal
draws, median 0.2 s, sigma 1, 4,000 samples), which is what such a batch can gain at most.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from benchmarks.models import new_policy, word_tokenizer
from benchmarks.table import Row, interleave
from spadework.agents.agent import Act, Finish, Generate, Move
from spadework.core.messages import Message, ToolCall, Turn
from spadework.engines.engine import SamplingParams
from spadework.engines.local import LocalEngine, LocalEngineConfig
from spadework.models.checkpoint import parameters
from spadework.rollout.driver import Limits
from spadework.rollout.groups import rollout
from spadework.tasks.task import Task
from spadework.tools.faults import Faults, FaultsConfig
from spadework.tools.gateway import Gateway
from spadework.tools.limits import GatewayConfig
from spadework.tools.tool import Facts, Observation
from spadework.trajectories.tree import Node

__all__ = ["Load", "rows"]


@dataclass(frozen=True, slots=True)
class Load:
    """What is rolled out."""

    in_flight: int = 64
    batches: int = 3
    """Batches of the first row."""
    turns: int = 4
    sampled: int = 8
    """Tokens of a turn."""
    observed: int = 20
    """Tokens of a result."""
    latency: float = 0.2
    """Median seconds of a call."""
    sigma: float = 1.0
    """Standard deviation of the logarithm of the latency: the slowest of 64 calls takes about eleven times the median."""


class Researcher:
    """An agent that searches after each of its turns and stops after the last."""

    role = "planner"

    def __init__(self, turns: int) -> None:
        self.turns = turns

    def start(self, task: Task, tools: Sequence[dict[str, Any]]) -> Sequence[Message]:
        """The question."""
        return (Message(role="user", content=task.question),)

    def next(self, path: Sequence[Node]) -> Move:
        """Generate and search in turns."""
        if path[-1].kind == "generation":
            return Act((ToolCall(name="search", arguments={"query": "x"}),))
        return Finish("done") if sum(node.kind == "generation" for node in path) == self.turns else Generate()


class Words:
    """Prompts and results as random tokens of fixed length."""

    name, stop, stop_token_ids, vocab_size = "words", (), (), 2048

    def __init__(self, observed: int) -> None:
        self.observed = observed

    def prompt(self, messages: Sequence[Message], tools: Any = ()) -> list[int]:
        """Thirty words that depend on the question."""
        return random.Random(messages[0].content).choices(range(2, 2000), k=30)

    def extend(self, turn_ids: Sequence[int], messages: Sequence[Message]) -> list[int]:
        """Words that depend on the turn."""
        return random.Random(str(turn_ids)).choices(range(2, 2000), k=self.observed)

    def text(self, token_ids: Sequence[int]) -> str:
        """Nothing reads it."""
        return ""

    def parse(self, token_ids: Sequence[int]) -> Turn:
        """Nothing reads it."""
        return Turn(answer="")


class Search:
    """A search whose latency the gateway's faults add; in lock-step an answer is held back until all have theirs."""

    name = "search"
    facts = Facts()

    def __init__(self, barrier: asyncio.Barrier | None) -> None:
        self.barrier = barrier
        parameters = {"type": "object", "properties": {"query": {"type": "string"}}}
        self.schema: dict[str, Any] = {"name": "search", "description": "Search.", "parameters": parameters}

    async def __call__(self, *, query: str) -> Observation:
        """A result."""
        if self.barrier is not None:
            await self.barrier.wait()
        return Observation("found")


def rows(*, runs: int = 1, load: Load | None = None, preset: str = "tiny-1m", device: str = "cpu") -> list[Row]:
    """Measure.

    Args:
        runs: measured pairs, after one that warms up.
        load: what is rolled out.
        preset: of the model.
        device: of the model.
    """
    load = load or Load()
    model = new_policy(preset).to(device)
    config = LocalEngineConfig(dtype="float32", device=device, max_num_seqs=load.in_flight)
    engine = LocalEngine(model.config, word_tokenizer(model.config.vocab_size), config)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(engine.load(parameters(model), 0))

    def seconds(number: int, tasks: list[Task], lock_step: bool) -> float:
        search: Any = Search(asyncio.Barrier(load.in_flight) if lock_step else None)
        # The warm-up, number 0, does not wait.
        faults = Faults(FaultsConfig(latency=load.latency if number else 0.0, latency_sigma=load.sigma), seed=number)
        gateway = Gateway([search], GatewayConfig(timeout=600.0, concurrency=load.in_flight), faults=faults)
        start = time.perf_counter()
        size = load.in_flight if lock_step else len(tasks)
        for batch in (tasks[at : at + size] for at in range(0, len(tasks), size)):
            roll = rollout(
                batch,
                num_samples=1,
                agent=Researcher(load.turns),
                engine=engine,
                renderer=Words(load.observed),
                gateway=gateway,
                params=SamplingParams(max_tokens=load.sampled),
                limits=Limits(max_turns=load.turns, max_tokens=1000),
                seed=number,
                concurrency=load.in_flight,
            )
            groups = loop.run_until_complete(roll)
            assert all(trajectory.num_sampled == load.turns * load.sampled for group in groups for trajectory in group)
        return time.perf_counter() - start

    found = []
    for name, batches in (("async_rollout", load.batches), ("async_rollout/one_batch", 1)):
        tasks = [Task(id=f"t{number}", question=f"question {number}", answers=("x",)) for number in range(load.in_flight * batches)]
        ours, peer = interleave(partial(seconds, tasks=tasks, lock_step=False), partial(seconds, tasks=tasks, lock_step=True), runs)
        mine, theirs = (len(tasks) / median(side) for side in (ours, peer))
        found.append(
            Row(name, round(mine, 2), round(theirs, 2), round(mine / theirs, 2), "trajectories/s", runs, "lock-step turns, same engine")
        )
    loop.close()
    return found
