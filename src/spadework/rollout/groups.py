"""Tasks in, groups of trajectories out: `num_samples` attempts per task, run concurrently, returned in declared order.

How the attempts at a task come about, independently or as forks of each other, is the strategy's choice (`strategy.py`).

A group is declared by its task, never by the order of arrival, and every trajectory has its own random streams, so the result does not
depend on `concurrency` or on timing. A broken or failed trajectory never cancels its siblings. A bug does: it stops the rollout and is
raised as it is.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from spadework.agents.agent import Agent
from spadework.core.errors import InputError
from spadework.engines.engine import Engine, SamplingParams
from spadework.models.renderers.renderer import Renderer
from spadework.rollout.driver import Limits, run_trajectory
from spadework.rollout.strategies.independent import INDEPENDENT
from spadework.rollout.strategy import Strategy
from spadework.tasks.task import Task
from spadework.tools.gateway import Gateway
from spadework.trajectories.tree import Group, Status, Trajectory

__all__ = ["rollout", "run_rollout"]

T = TypeVar("T")


async def rollout(
    tasks: Sequence[Task],
    *,
    num_samples: int,
    agent: Agent,
    engine: Engine,
    renderer: Renderer,
    gateway: Gateway,
    params: SamplingParams,
    limits: Limits,
    strategy: Strategy = INDEPENDENT,
    seed: int = 0,
    concurrency: int = 256,
    progress: Callable[[Trajectory], None] | None = None,
) -> list[Group]:
    """Attempt every task several times.

    Args:
        tasks: what to attempt; each id once.
        num_samples: attempts per task.
        agent: decides the moves of all trajectories; it has no state.
        engine: samples the turns; it sees up to `concurrency` requests at once.
        renderer: the chat template.
        gateway: the tools.
        params: how to sample.
        limits: budgets per trajectory.
        strategy: how the attempts at a task come about.
        seed: changes every trajectory's randomness; derive it from the run's seed and the step.
        concurrency: trajectories in flight.
        progress: called with every trajectory when it ends, in the order in which they end.

    Returns:
        One group per task, in the order of `tasks`; its key is the task's id.

    Raises:
        InputError: two tasks have the same id, or the strategy cannot make this number of attempts.
    """
    _check(tasks, num_samples, strategy)
    gate = asyncio.Semaphore(concurrency)
    # Forks go on from what an engine may still have cached, so a task that has begun is finished before others push it out.
    crowd = asyncio.Semaphore(max(1, concurrency // max(1, num_samples)) if strategy.forks else max(1, len(tasks)))
    run = partial(run_trajectory, agent=agent, engine=engine, renderer=renderer, gateway=gateway, params=params, limits=limits, seed=seed)

    async def attempt(task: Task, trajectory: Trajectory, turns: int | None) -> None:
        async with gate:
            await run(task, start=trajectory, turns=turns)
        if progress is not None and trajectory.status is not Status.RUNNING:
            progress(trajectory)

    async def group(task: Task) -> Group:
        async def drive(trajectories: Sequence[Trajectory], turns: int | None = None) -> None:
            await _together(attempt(task, trajectory, turns) for trajectory in trajectories)

        async with crowd:
            return Group(task.id, await strategy.sample(task, num_samples, drive, seed=seed, vocab_size=renderer.vocab_size))

    try:
        return await _together(group(task) for task in tasks)
    finally:
        await gateway.drain()


def _check(tasks: Sequence[Task], num_samples: int, strategy: Strategy) -> None:
    strategy.check(num_samples)
    if len({task.id for task in tasks}) < len(tasks):
        twice = next(task.id for i, task in enumerate(tasks) if task.id in {earlier.id for earlier in tasks[:i]})
        raise InputError(f"task '{twice}' stands twice in one rollout; raise num_samples for more attempts at it")


async def _together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order; whatever one of them raises stops the others first."""
    attempts = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*attempts)
    except BaseException:
        for unfinished in attempts:
            unfinished.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
        raise


def run_rollout(tasks: Sequence[Task], **options: Any) -> list[Group]:
    """`rollout` for scripts that are not async themselves; arguments and result are the same."""
    return asyncio.run(rollout(tasks, **options))
