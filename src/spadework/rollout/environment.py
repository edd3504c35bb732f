"""An environment: everything an agent meets, as one thing that turns tasks into groups.

Corpus, tools behind their gateway, the agent, the chat template and the budgets of a trajectory. Training and evaluation differ in the
engine, the tasks and how tokens are sampled, and in nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spadework.agents.agent import Agent
from spadework.corpus.document import Corpus
from spadework.engines.engine import Engine, SamplingParams
from spadework.models.renderers.renderer import Renderer
from spadework.rollout.driver import Limits
from spadework.rollout.groups import rollout
from spadework.rollout.strategies.independent import INDEPENDENT
from spadework.rollout.strategy import Strategy
from spadework.tasks.task import Task
from spadework.tools.gateway import Gateway
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["Environment"]


@dataclass(frozen=True, slots=True)
class Environment:
    """What stays the same from rollout to rollout."""

    corpus: Corpus
    gateway: Gateway
    agent: Agent
    renderer: Renderer
    limits: Limits

    async def rollout(
        self,
        tasks: Sequence[Task],
        engine: Engine,
        params: SamplingParams,
        *,
        num_samples: int = 1,
        strategy: Strategy = INDEPENDENT,
        seed: int = 0,
        concurrency: int = 256,
        progress: Callable[[Trajectory], None] | None = None,
    ) -> list[Group]:
        """Attempt every task `num_samples` times; see `rollout.groups.rollout`."""
        return await rollout(
            tasks,
            num_samples=num_samples,
            agent=self.agent,
            engine=engine,
            renderer=self.renderer,
            gateway=self.gateway,
            params=params,
            limits=self.limits,
            strategy=strategy,
            seed=seed,
            concurrency=concurrency,
            progress=progress,
        )
