"""The RL loop: rollout, score, select, credit, learn, load. Nothing here knows an algorithm, a reward or an agent by name.

A step is one rollout and one or more optimiser updates on it, so every sample was made by the weights that the step starts from (staleness
0), and the loss's ratio starts at 1. Each step reports how far the trainer's log-probabilities are from the sampler's (invariant 3). A step
in which no group is left after selection changes nothing and says so.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from spadework.algorithms.credit.credit import CreditError
from spadework.algorithms.credit.policy_tokens import write
from spadework.algorithms.selection.resampling import next_draw
from spadework.core.progress import Progress
from spadework.core.run import Run
from spadework.core.seeds import derive_seed, rng
from spadework.engines.engine import Engine
from spadework.rollout.environment import Environment
from spadework.rollout.forest import forest_metrics
from spadework.tasks.task import Task
from spadework.training.budget import add_spending, spent_until
from spadework.training.learner import Learner
from spadework.training.mini_batches import deal
from spadework.training.parts import Parts
from spadework.training.stages import RLStage
from spadework.training.trainer_state import keep_checkpoint
from spadework.trajectories.packing import Pack, Sample, make_packs, step_samples
from spadework.trajectories.store import Record, write_records
from spadework.trajectories.tree import Group, Status

__all__ = ["train_rl"]


async def train_rl(
    config: RLStage,
    learner: Learner,
    engine: Engine,
    environment: Environment,
    draw: Callable[[random.Random, int], list[Task]],
    *,
    run: Run,
    save: Callable[[], object],
    seed: int,
    started: float,
    observe: Callable[[int, Sequence[Task], Sequence[Group]], dict[str, float]] | None = None,
) -> None:
    """Train until the learner's total number of steps, or until the budget of the stage is spent.

    Args:
        config: the stage.
        learner: may have done some of the steps already.
        engine: is given the learner's weights before every rollout.
        environment: where trajectories happen.
        draw: gives a number of different tasks from a random stream.
        run: receives events, checkpoints and the groups of the last step.
        save: writes a checkpoint of the current weights.
        seed: of the run.
        started: `time.monotonic()` at the start of the run.
        observe: is shown the scored groups of every step before selection; returns figures for its event.
    """
    parts = config.parts()
    spent = spent_until(run, learner.step_number)
    await engine.load(learner.weights, learner.step_number)
    with Progress("rl", learner.total_steps, done=learner.step_number) as progress:
        while (done := config.done(learner.step_number, spent)) < 1:
            begin = time.monotonic()
            step = learner.step_number + 1
            environment.gateway.advance(done)
            tasks, groups, kept, counts = await _collect(config, parts, environment, engine, draw, seed, step, done)
            sampled = time.monotonic()
            metrics = (
                _describe(groups)
                | forest_metrics(groups)
                | counts
                | {"groups/kept": len(kept) / len(groups), "timing_s/gen": sampled - begin}
            )
            metrics |= observe(step, tasks, groups) if observe is not None else {}
            spent = add_spending(spent, metrics)
            metrics |= {f"spent/{name}": amount for name, amount in spent.items()}
            metrics |= _learn(config, parts, learner, kept, seed=derive_seed(seed, "mini-batches", step), done=done)
            await engine.load(learner.weights, step)
            run.event("rl", step, time=time.monotonic() - started, **metrics, **{"timing_s/step": time.monotonic() - begin})
            progress.advance(
                note=f"reward {metrics['reward/mean']:.3f} calls {metrics['num_calls/mean']:.2f} kept {metrics['groups/kept']:.2f}"
            )
            if config.done(step, spent) >= 1 or keep_checkpoint(step, learner.total_steps, config.checkpoint_every):
                _write_groups(run, tasks, groups)
                save()


def _learn(config: RLStage, parts: Parts, learner: Learner, groups: Sequence[Group], *, seed: int, done: float) -> dict[str, float]:
    """Credit, and as many optimiser updates as the stage has per step."""

    def pack(families: Sequence[Sequence[Sample]]) -> list[Pack]:
        return make_packs(families, learner.config.max_tokens_per_pack)

    trained = [trajectory for group in groups for trajectory in group if trajectory.trained]
    if learner.critic is not None:
        values, start = learner.critic.estimate(pack(step_samples(groups)), sum(each.num_sampled for each in trained)), 0
        for trajectory in trained:
            write(trajectory, values=values[start : start + trajectory.num_sampled])
            start += trajectory.num_sampled
    parts.credit.assign(groups)
    if learner.critic is not None and any(node.num_sampled and not node.returns for each in trained for node in each.generations()):
        raise CreditError(f"{type(parts.credit).__name__} reads a critic's values and writes no returns, so the critic cannot learn")
    families = [family for family in step_samples(groups) if family]
    updates = None
    if families and config.ppo_epochs * config.mini_batches > 1:
        dealt = deal(families, epochs=config.ppo_epochs, mini_batches=config.mini_batches, seed=seed)
        updates = [pack(chosen) for chosen in dealt]
    return learner.step(pack(families), parts.objective, temperature=config.sampling.temperature, updates=updates, done=done)


async def _collect(
    config: RLStage,
    parts: Parts,
    environment: Environment,
    engine: Engine,
    draw: Callable[[random.Random, int], list[Task]],
    seed: int,
    step: int,
    done: float,
) -> tuple[list[Task], list[Group], list[Group], dict[str, float]]:
    """Roll out, score and select until the batch is full: tasks, their groups, the groups to train on, and what selection counted."""
    stream = rng(seed, "rl", step)
    tasks: list[Task] = []
    groups: list[Group] = []
    kept: list[Group] = []
    counts: dict[str, float] = {}
    asked = 0
    while more := next_draw(config.tasks_per_step, len(kept), asked, limit=config.resample):
        drawn = draw(stream, more)
        rolled = await environment.rollout(
            drawn,
            engine,
            config.sampling,
            num_samples=config.samples,
            strategy=config.strategy(),
            seed=derive_seed(seed, "rollout", step, asked),
        )
        # In a thread, because a reward may wait for a server.
        await asyncio.to_thread(parts.rubric.score_groups, drawn, rolled, done)
        left, found = parts.selection.count(rolled, seed=derive_seed(seed, "selection", step, asked))
        asked += more
        tasks += drawn
        groups += rolled
        kept += left
        counts = {name: counts.get(name, 0.0) + value for name, value in found.items()}
    return tasks, groups, kept[: config.tasks_per_step], counts


def _describe(groups: Sequence[Group]) -> dict[str, float]:
    """Means over the unbroken trajectories of a step, by verl's names where it has one."""
    usable = [trajectory for group in groups for trajectory in group if trajectory.status is not Status.BROKEN]
    every = sum(len(group) for group in groups)

    def mean(values: list[float]) -> float:
        return sum(values) / max(1, len(values))

    metrics = {
        "reward/mean": mean([t.reward for t in usable]),
        "num_turns/mean": mean([float(t.num_turns) for t in usable]),
        "num_calls/mean": mean([t.ledger.get("calls", 0.0) for t in usable]),
        "response_length/mean": mean([float(t.num_sampled) for t in usable]),
        "truncated": mean([float(t.status is Status.TRUNCATED) for t in usable]),
        "failed": mean([float(t.status is Status.FAILED) for t in usable]),
        "broken": 1 - len(usable) / every,
    }
    names = {name for trajectory in usable for name in trajectory.rewards}
    metrics |= {f"reward/{name}/mean": mean([t.rewards[name] for t in usable]) for name in sorted(names)}
    turns = [node.rewards for trajectory in usable for node in trajectory.generations()]
    per_turn = sorted({name for values in turns for name in values})
    metrics |= {f"reward/{name}/mean": mean([values[name] for values in turns]) for name in per_turn}
    if "em" in names:
        metrics["success"] = metrics["reward/em/mean"]
    return metrics


def _write_groups(run: Run, tasks: Sequence[Task], groups: Sequence[Group], most: int = 8) -> None:
    """The last step's groups with their advantages, for the report."""
    records = [
        Record(trajectory, task.model_dump(mode="json"))
        for task, group in list(zip(tasks, groups, strict=True))[:most]
        for trajectory in group
    ]
    write_records(run.path / "trajectories" / "rl-last.jsonl", records)
