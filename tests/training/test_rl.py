"""The RL loop with the real world, tools, driver, engine and learner: two steps of a random policy, watched closely."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import correlation
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from spadework.agents.planner import Planner
from spadework.core.run import Run
from spadework.corpus.store import MemoryCorpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.engines.engine import SamplingParams
from spadework.engines.local import LocalEngine, LocalEngineConfig
from spadework.models.checkpoint import load_model
from spadework.models.renderers.tags import TagsRenderer
from spadework.models.tokenizer import train_tokenizer
from spadework.rewards.reward import RewardTerm, register
from spadework.rollout.driver import Limits
from spadework.rollout.environment import Environment
from spadework.synthesis.graph import make_chains
from spadework.tasks.task import Task
from spadework.tools.gateway import Gateway
from spadework.tools.read import ReadTool
from spadework.tools.search import SearchTool
from spadework.training.budget import Budget
from spadework.training.critic import Critic
from spadework.training.learner import Learner, LearnerConfig
from spadework.training.optimizer import OptimizerConfig
from spadework.training.rl import train_rl
from spadework.training.stages import RLStage
from spadework.training.trainer_state import load_trainer_state, save_stage
from spadework.trajectories.store import read_records
from spadework.trajectories.tree import Trajectory

Make = Callable[..., PreTrainedModel]


@register("test-even")
class EvenTokens(RewardTerm):
    """Share of sampled tokens with an even id: something that a random policy has more or less of."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        sampled = [token for node in trajectory.generations() for token in node.token_ids]
        return sum(token % 2 == 0 for token in sampled) / max(1, len(sampled))


STAGE = RLStage(
    steps=4,
    tasks_per_step=3,
    samples=4,
    sampling=SamplingParams(max_tokens=10),
    rewards={"test-even": {"weight": 1.0}, "em": {"weight": 0.0}},
    learner=LearnerConfig(dtype="float32"),
    checkpoint_every=2,
)


@pytest.fixture(scope="module")
def world() -> tuple[MemoryCorpus, list[Task], PreTrainedTokenizerFast]:
    made = build_world(WorldConfig(seed=1, pages=1000))
    corpus, tasks = MemoryCorpus(made.documents()), make_chains(made, seed=0, counts={1: 12})
    return corpus, tasks, train_tokenizer([task.question for task in tasks] * 2, vocab_size=400)


Loop = Callable[..., None]


class Told(SearchTool):
    """A search that keeps what it is told about the training."""

    def __init__(self, corpus: MemoryCorpus) -> None:
        super().__init__(corpus)
        self.told: list[float] = []

    def advance(self, progress: float) -> None:
        self.told.append(progress)


@pytest.fixture
def loop(world: tuple[MemoryCorpus, list[Task], PreTrainedTokenizerFast]) -> Loop:
    corpus, tasks, tokenizer = world
    tools: list[Any] = [Told(corpus), ReadTool(corpus)]
    environment = Environment(corpus, Gateway(tools), Planner(), TagsRenderer(tokenizer), Limits(max_turns=3, max_tokens=300))

    def train(run: Run, learner: Learner, *, stage: RLStage = STAGE, kill_in: int | None = None) -> None:
        engine = LocalEngine(learner.model.config, tokenizer, LocalEngineConfig(max_num_seqs=16))
        draws = learner.step_number

        def draw(stream: random.Random, count: int) -> list[Task]:
            nonlocal draws
            draws += 1
            if draws == kill_in:
                raise KeyboardInterrupt
            return stream.sample(tasks, count)

        save = lambda: save_stage(run, "rl", learner, tokenizer)  # noqa: E731
        asyncio.run(train_rl(stage, learner, engine, environment, draw, run=run, save=save, seed=3, started=time.monotonic()))

    train.told = tools[0].told  # type: ignore[attr-defined]
    return train


def policy(make_model: Make, world: tuple[MemoryCorpus, list[Task], PreTrainedTokenizerFast]) -> PreTrainedModel:
    return make_model(len(world[2]))


def test_a_run_says_what_happened(make_model: Make, world: Any, loop: Loop, tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    model, before = policy(make_model, world), policy(make_model, world)
    loop(run, Learner(model, STAGE.learner, total_steps=4))
    events = run.events("rl")
    assert [event["step"] for event in events] == [1, 2, 3, 4]
    for event in events:
        # Trainer and sampler see the same tokens with the same weights (invariant 3).
        assert event["rollout_corr/max_abs_diff"] < 1e-4
        assert abs(event["rollout_corr/kl"]) < 1e-4 and event["actor/ppo_kl"] == pytest.approx(0, abs=1e-6)
        assert 0.2 < event["reward/mean"] < 0.8 and event["reward/test-even/mean"] == event["reward/mean"]
        assert event["success"] == event["reward/em/mean"] == 0 and event["groups/kept"] == 1 and event["broken"] == 0
        assert event["actor/grad_norm"] > 0 and event["actor/entropy"] > 1
        assert 1 <= event["num_turns/mean"] <= 3 and event["response_length/mean"] <= 30
        assert event["timing_s/step"] >= event["timing_s/gen"] > 0
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    assert [step for step, _ in run.checkpoints("rl")] == [2, 4]
    records = list(read_records(tmp_path / "trajectories" / "rl-last.jsonl"))
    assert len(records) == 12
    for record in records:
        sampled = [node for node in record.trajectory.nodes if node.kind == "generation"]
        assert sampled and {node.version for node in sampled} == {3}, "sampled by the weights before the last step"
        assert all(len(node.advantages) == len(node.token_ids) for node in sampled)
    # Every step begins with the share that is done.
    assert loop.told == [0.0, 0.25, 0.5, 0.75]  # type: ignore[attr-defined]


def changed(**values: Any) -> RLStage:
    return RLStage.model_validate(STAGE.model_dump() | values)


SEVERAL = changed(ppo_epochs=2, mini_batches=2)
# Turn rewards too, which gae places on the last token of a turn.
PPO = changed(
    ppo_epochs=2, mini_batches=2, credit={"gae": {"lam": 0.95}}, critic={"warmup": 1, "optimizer": {"name": "adamw", "lr": 5e-3}},
    rewards=STAGE.rewards | {"turn-format": {"weight": 0.1}},
)  # fmt: skip


def make_learner(model: PreTrainedModel, stage: RLStage, start: PreTrainedModel) -> Learner:
    """As the chain makes it: a critic starts from what the stage starts from."""
    critic = None if stage.critic is None else Critic(start, stage.critic, total_steps=stage.steps, dtype="float32")
    return Learner(model, stage.learner, total_steps=stage.steps, critic=critic)


@pytest.mark.parametrize("stage", [STAGE, SEVERAL, PPO], ids=["one-update", "several", "ppo"])
def test_kill_and_resume_is_the_uninterrupted_run(make_model: Make, world: Any, loop: Loop, tmp_path: Path, stage: RLStage) -> None:
    start = policy(make_model, world)
    whole = Run.create(tmp_path / "whole", {})
    uninterrupted = make_learner(policy(make_model, world), stage, start)
    loop(whole, uninterrupted, stage=stage)
    broken = Run.create(tmp_path / "broken", {})
    with pytest.raises(KeyboardInterrupt):
        loop(broken, make_learner(policy(make_model, world), stage, start), stage=stage, kill_in=4)
    [(step, folder)] = broken.checkpoints("rl")
    assert step == 2, "step 3 was done and is lost"
    model = load_model(folder)
    learner = make_learner(model, stage, start)
    load_trainer_state(folder, model, learner)
    broken.rewind("rl", learner.step_number)
    loop(broken, learner, stage=stage)
    mine, theirs = (load_model(run.checkpoints("rl")[-1][1]) for run in (broken, whole))
    for (name, a), b in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert told(broken) == told(whole)
    if stage.critic is not None:
        critics = [each.state_dict()["critic"]["model"] for each in (learner, uninterrupted)]
        assert all(torch.equal(critics[0][name], critics[1][name]) for name in critics[1])


def test_several_updates_move_away_from_the_sampler_and_are_clipped(make_model: Make, world: Any, loop: Loop, tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    loop(run, Learner(policy(make_model, world), SEVERAL.learner, total_steps=4), stage=SEVERAL)
    for event in run.events("rl"):
        assert event["actor/pg_clipfrac"] > 0.01 and abs(event["actor/ppo_kl"]) > 1e-4
        # What was sampled is still what the trainer reads at the start of the step.
        assert event["rollout_corr/max_abs_diff"] < 1e-4 and abs(event["rollout_corr/kl"]) < 1e-4


def test_a_critic_and_gae_on_real_trajectories(make_model: Make, world: Any, loop: Loop, tmp_path: Path) -> None:
    stage = changed(steps=8, credit={"gae": {}}, critic={"optimizer": {"name": "adamw", "lr": 5e-3}}, checkpoint_every=8)
    model = policy(make_model, world)
    run = Run.create(tmp_path, {})
    loop(run, make_learner(model, stage, model), stage=stage)
    events = run.events("rl")
    # The return of every token is the trajectory's reward, which is about a half, so that is what the critic comes to say.
    assert events[0]["critic/values/mean"] == 0 and events[0]["critic/vf_loss"] > 0.08
    assert events[-1]["critic/vf_loss"] < 0.02
    assert events[-1]["critic/values/mean"] == pytest.approx(events[-1]["critic/returns/mean"], abs=0.15)
    for event in events:
        assert event["actor/grad_norm"] > 0 and event["critic/grad_norm"] > 0 and event["rollout_corr/max_abs_diff"] < 1e-4
        assert {"critic/vpred_mean", "critic/vf_explained_var", "critic/vf_clipfrac", "critic/lr"} <= event.keys()
    advantages = []
    for record in read_records(tmp_path / "trajectories" / "rl-last.jsonl"):
        for node in record.trajectory.generations():
            assert node.returns == pytest.approx([record.trajectory.reward] * len(node.token_ids), abs=1e-6)
            assert len(set(node.values)) == len(node.values) > 1, "an estimate for every token"
            advantages += list(zip(node.advantages, node.returns, node.values, strict=True))
    # Whitened advantages are a straight line of return minus value.
    x = [returns - value for _, returns, value in advantages]
    assert correlation(x, [advantage for advantage, _, _ in advantages]) == pytest.approx(1)


def told(run: Run) -> list[str]:
    """All events without their times."""
    kept = [{key: value for key, value in event.items() if not key.startswith("tim")} for event in run.events()]
    return list(map(json.dumps, kept))


def resume(run: Run, stage: RLStage, loop: Loop, total: int) -> None:
    step, folder = run.checkpoints("rl")[-1]
    model = load_model(folder)
    learner = Learner(model, stage.learner, total_steps=total)
    load_trainer_state(folder, model, learner)
    assert learner.step_number == step
    run.rewind("rl", step)
    loop(run, learner, stage=stage)


def test_a_budget_ends_the_stage_after_the_step_that_spends_it(make_model: Make, world: Any, loop: Loop, tmp_path: Path) -> None:
    free = Run.create(tmp_path / "free", {})
    loop(free, Learner(policy(make_model, world), STAGE.learner, total_steps=4))
    first = free.events("rl")[0]["spent/tokens"]
    for event in free.events("rl"):
        assert event["spent/tokens"] <= event["step"] * 12 * 30 and event["spent/calls"] >= 0
    # Enough for the first step and one token of the second.
    limit = int(first) + 1
    learner = LearnerConfig(dtype="float32", optimizer=OptimizerConfig(warmup=0, decay=1.0, final=0.0))
    stage = STAGE.model_copy(update={"steps": 1000, "budget": Budget(tokens=limit), "learner": learner})
    run = Run.create(tmp_path / "budget", {})
    loop(run, Learner(policy(make_model, world), learner, total_steps=1000), stage=stage)
    events = run.events("rl")
    assert [event["step"] for event in events] == [1, 2]
    assert events[0]["spent/tokens"] == first < limit <= events[1]["spent/tokens"]
    assert [step for step, _ in run.checkpoints("rl")] == [2], "the last step has a checkpoint, whatever its number"
    # The rate falls to 0 over the budget, not over 1000 steps: 1 at the start, then what is left of the tokens.
    assert [event["actor/lr"] / 4e-3 for event in events] == pytest.approx([1.0, 1 / limit])


def test_a_budget_survives_a_kill(make_model: Make, world: Any, loop: Loop, tmp_path: Path) -> None:
    stage = STAGE.model_copy(update={"steps": 50, "budget": Budget(tokens=700)})
    whole = Run.create(tmp_path / "whole", {})
    loop(whole, Learner(policy(make_model, world), stage.learner, total_steps=50), stage=stage)
    assert len(whole.events("rl")) >= 3
    broken = Run.create(tmp_path / "broken", {})
    with pytest.raises(KeyboardInterrupt):
        loop(broken, Learner(policy(make_model, world), stage.learner, total_steps=50), stage=stage, kill_in=3)
    resume(broken, stage, loop, 50)
    assert told(broken) == told(whole)
    resume(broken, stage, loop, 50)
    assert told(broken) == told(whole), "a budget that is spent stays spent"


def test_groups_without_a_spread_teach_nothing(make_model: Make, world: Any, loop: Loop, tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    model, before = policy(make_model, world), policy(make_model, world)
    stage = STAGE.model_copy(update={"steps": 1, "rewards": {"em": {"weight": 1.0}}})
    loop(run, Learner(model, stage.learner, total_steps=1), stage=stage)
    [event] = run.events("rl")
    assert event["groups/kept"] == 0 and event["actor/grad_norm"] == 0
    several = PPO.model_copy(update={"rewards": {"em": {"weight": 1.0}}, "steps": 1})
    loop(Run.create(tmp_path / "ppo", {}), make_learner(model, several, before), stage=several)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
