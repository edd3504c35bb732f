"""The RL loop with forks: a real policy, the local engine, tools, the credit rules for forks and the learner."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from spadework.agents.planner import Planner
from spadework.core.run import Run
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.engines.engine import SamplingParams
from spadework.engines.local import LocalEngine, LocalEngineConfig
from spadework.models.renderers.tags import TagsRenderer
from spadework.rewards.reward import RewardTerm, register
from spadework.rollout.driver import Limits
from spadework.rollout.environment import Environment
from spadework.rollout.strategies.arpo import ARPO
from spadework.rollout.strategies.tree import Tree
from spadework.rollout.strategy import Strategy
from spadework.tasks.task import Task
from spadework.tools.gateway import Gateway
from spadework.tools.search import SearchTool
from spadework.training.learner import Learner, LearnerConfig
from spadework.training.rl import train_rl
from spadework.training.stages import RLStage
from spadework.trajectories.store import read_records
from spadework.trajectories.tree import Group, Trajectory

Make = Callable[..., PreTrainedModel]
CORPUS = MemoryCorpus([Document(id="d1", title="Ondal Brin", text="Ondal Brin is a city.\nOndal Brin mayor: Velor Tash")])
TASKS = [Task(id=f"t{number}", question=f"Who is the mayor of Ondal Brin {number}?", answers=("Velor Tash",)) for number in range(4)]


@register("test-odd")
class OddTokens(RewardTerm):
    """Share of sampled tokens with an odd id: something that a random policy has more or less of."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        sampled = [token for node in trajectory.generations() for token in node.token_ids]
        return sum(token % 2 for token in sampled) / max(1, len(sampled))


def environment(tokenizer: PreTrainedTokenizerFast) -> Environment:
    tools: list[Any] = [SearchTool(CORPUS)]
    return Environment(CORPUS, Gateway(tools), Planner(), TagsRenderer(tokenizer), Limits(max_turns=4, max_tokens=400))


def train(
    make_model: Make, tokenizer: PreTrainedTokenizerFast, folder: Path, **options: Any
) -> tuple[list[dict[str, Any]], list[Trajectory]]:
    stage = RLStage(
        steps=2,
        tasks_per_step=3,
        samples=6,
        sampling=SamplingParams(max_tokens=8),
        rewards={"test-odd": {"weight": 1.0}, "budget": {"weight": 0.0, "limits": {"calls": 2, "tokens": 20}}},
        learner=LearnerConfig(dtype="float32"),
        checkpoint_every=1,
        **options,
    )
    run = Run.create(folder, {})
    learner = Learner(make_model(len(tokenizer)), stage.learner, total_steps=2)
    engine = LocalEngine(learner.model.config, tokenizer, LocalEngineConfig(max_num_seqs=24))
    draw: Callable[[random.Random, int], list[Task]] = lambda stream, count: stream.sample(TASKS, count)  # noqa: E731
    asyncio.run(
        train_rl(stage, learner, engine, environment(tokenizer), draw, run=run, save=lambda: None, seed=3, started=time.monotonic())
    )
    return run.events("rl"), [record.trajectory for record in read_records(folder / "trajectories" / "rl-last.jsonl")]


@pytest.mark.parametrize(
    "options",
    [
        {"rollout": {"arpo": {}}, "credit": {"arpo": {"attribution": "soft"}}},
        {"rollout": {"aepo": {}}, "credit": {"grpo": {}}},
        {"rollout": {"tree": {}}, "credit": {"tree-grpo": {}}},
    ],
    ids=lambda options: next(iter(options["rollout"])),
)
def test_steps_with_forks(make_model: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, options: dict[str, Any]) -> None:
    events, trajectories = train(make_model, tokenizer, tmp_path, **options)
    assert [event["step"] for event in events] == [1, 2]
    for event in events:
        assert event["rollout_corr/max_abs_diff"] < 1e-4 and event["actor/grad_norm"] > 0 and event["broken"] == 0
        assert 0 < event["rollout/forked"] < 1 and event["rollout/shared_tokens"] > 0 and event["rollout/calls"] > 0
        # What is spent once, and what a trajectory has: 18 of them.
        assert event["rollout/tokens"] + event["rollout/shared_tokens"] == pytest.approx(18 * event["response_length/mean"])
        assert event["rollout/calls"] < 18 * event["num_calls/mean"]
        assert ("rollout/entropy_jump" in event) == ("tree" not in options["rollout"])
    assert len(trajectories) == 18
    for trajectory in trajectories:
        assert all(len(node.advantages) == len(node.token_ids) for node in trajectory.generations())


def test_hard_and_soft_are_the_same_step(make_model: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    def first_step(attribution: str) -> dict[str, Any]:
        options = {"rollout": {"arpo": {}}, "credit": {"arpo": {"attribution": attribution}}}
        return train(make_model, tokenizer, tmp_path / attribution, **options)[0][0]

    soft, hard = first_step("soft"), first_step("hard")
    assert hard["reward/mean"] == soft["reward/mean"] and hard["rollout/forked"] > 0
    assert hard["actor/grad_norm"] == pytest.approx(soft["actor/grad_norm"], rel=1e-4)


@pytest.mark.parametrize("strategy", [ARPO(alpha=1.0), Tree()], ids=["arpo", "tree"])
def test_the_engine_computes_nothing_twice(make_model: Make, tokenizer: PreTrainedTokenizerFast, strategy: Strategy) -> None:
    model = make_model(len(tokenizer))

    def roll(rows: int, tasks: list[Task], concurrency: int = 256) -> tuple[list[Group], LocalEngine]:
        engine = LocalEngine(model.config, tokenizer, LocalEngineConfig(max_num_seqs=rows))

        async def sample() -> list[Group]:
            await engine.load(dict(model.named_parameters()), 0)
            return await environment(tokenizer).rollout(
                tasks, engine, SamplingParams(max_tokens=8), num_samples=12, strategy=strategy, seed=5, concurrency=concurrency
            )

        return asyncio.run(sample()), engine

    [group], engine = roll(12, TASKS[:1])
    needed = 0
    for trajectory in group:
        copies = sum(node.shared_with is not None for node in trajectory.nodes)
        for node in trajectory.nodes[copies:]:
            if node.kind == "generation":
                # The first turn reads the token that it samples from, and of the first root the whole prompt; any later one reads
                # the result before it, and the last token of the turn before that, which was sampled and not yet read.
                first = node.id == max(copies, 1)
                before = trajectory.nodes[node.id - 1]
                needed += (1 if trajectory.sample else len(before.token_ids)) if first else 1 + len(before.token_ids)
    assert any(trajectory.nodes[-1].id > 3 and trajectory.nodes[0].shared_with for trajectory in group)
    assert engine.stats["prompt_tokens"] - engine.stats["cached_tokens"] == needed

    def told(groups: list[Group]) -> list[Any]:
        return [[(t.status, [(node.token_ids, node.shared_with) for node in t.nodes]) for t in group] for group in groups]

    # Few rows, or few at once, compute more and sample the same.
    many = told(roll(48, TASKS)[0])
    assert many[:1] == told([group])
    assert told(roll(5, TASKS)[0]) == told(roll(48, TASKS, concurrency=2)[0]) == many
