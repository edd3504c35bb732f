"""Tasks in, groups of trajectories out: `num_samples` attempts per task, run concurrently, returned in declared order.

A group is declared by its task, never by the order of arrival, and every trajectory has its own random streams, so the result does not
depend on `concurrency` or on timing. A broken or failed trajectory never cancels its siblings. A bug does: it stops the rollout and is
raised as it is.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from spadework.agents.agent import Agent
from spadework.core.errors import InputError
from spadework.engines.engine import Engine, SamplingParams
from spadework.models.renderers.renderer import Renderer
from spadework.rollout.driver import Limits, run_trajectory
from spadework.tasks.task import Task
from spadework.tools.gateway import Gateway
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["rollout", "run_rollout"]


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
        seed: changes every trajectory's randomness; derive it from the run's seed and the step.
        concurrency: trajectories in flight.
        progress: called with every trajectory when it ends, in the order in which they end.

    Returns:
        One group per task, in the order of `tasks`; its key is the task's id.

    Raises:
        InputError: two tasks have the same id.
    """
    if len({task.id for task in tasks}) < len(tasks):
        twice = next(task.id for i, task in enumerate(tasks) if task.id in {earlier.id for earlier in tasks[:i]})
        raise InputError(f"task '{twice}' stands twice in one rollout; raise num_samples for more attempts at it")
    gate = asyncio.Semaphore(concurrency)
    run = partial(run_trajectory, agent=agent, engine=engine, renderer=renderer, gateway=gateway, params=params, limits=limits, seed=seed)

    async def attempt(task: Task, sample: int) -> Trajectory:
        async with gate:
            trajectory = await run(task, sample=sample)
        if progress is not None:
            progress(trajectory)
        return trajectory

    attempts = [asyncio.ensure_future(attempt(task, sample)) for task in tasks for sample in range(num_samples)]
    try:
        trajectories = await asyncio.gather(*attempts)
    except BaseException:
        for unfinished in attempts:
            unfinished.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
        raise
    return [Group(key=task.id, trajectories=list(trajectories[i * num_samples : (i + 1) * num_samples])) for i, task in enumerate(tasks)]


def run_rollout(tasks: Sequence[Task], **options: Any) -> list[Group]:
    """`rollout` for scripts that are not async themselves; arguments and result are the same."""
    return asyncio.run(rollout(tasks, **options))
