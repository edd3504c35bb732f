"""Reinforcement learning learns: the real world, tools, driver, engine, rewards, credit, loss and learner, on one thread, in seconds.

A policy imitates a clerk who half of the time answers at once, wrongly, and otherwise searches first and answers what is right.
Nothing but the reward says which is better, and after a few steps the policy searches and is right nearly always: with GRPO, one update per
step and no model but the policy, and with PPO, four updates per step and a critic.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from spadework.agents.planner import Planner
from spadework.core.messages import ToolCall, Turn
from spadework.core.run import Run
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.engines.engine import Request, SamplingParams
from spadework.engines.local import LocalEngine, LocalEngineConfig
from spadework.engines.scripted import ScriptedEngine
from spadework.models.renderers.tags import TagsRenderer
from spadework.models.tokenizer import train_tokenizer
from spadework.rollout.driver import Limits
from spadework.rollout.environment import Environment
from spadework.tasks.task import Task
from spadework.tools.gateway import Gateway
from spadework.tools.search import SearchTool
from spadework.training.critic import Critic
from spadework.training.learner import Learner, LearnerConfig
from spadework.training.optimizer import OptimizerConfig
from spadework.training.rl import train_rl
from spadework.training.stages import RLStage
from spadework.training.supervised import train_supervised
from spadework.trajectories.packing import group_samples

CITIES = ("Ondal", "Brin", "Marrow", "Zorin", "Kest", "Pell")
PAGES = [Document(id=city, title=city, text=f"{city} is a city.\n{city} mayor Velor Tash") for city in CITIES]
TASKS = [
    Task(id=city, question=f"Who is the mayor of {city}?", answers=("Velor Tash",), evidence=(city,), source="test") for city in CITIES
]


PPO: dict[str, Any] = {
    "ppo_epochs": 2,
    "mini_batches": 2,
    "credit": {"gae": {}},
    "critic": {"warmup": 2, "optimizer": {"name": "adamw", "lr": 2e-3, "warmup": 0, "decay": 0}},
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rollout": {"arpo": {}}, "credit": {"arpo": {}}},
        {"rollout": {"tree": {}}, "credit": {"tree-grpo": {}}, "samples": 9},
        PPO,
    ],
    ids=["grpo", "arpo", "tree-grpo", "ppo"],
)
def test_reward_rises(tmp_path: Path, options: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    tokenizer = train_tokenizer([page.text for page in PAGES] + [task.question for task in TASKS], vocab_size=400)
    renderer = TagsRenderer(tokenizer)
    tools: list[Any] = [SearchTool(MemoryCorpus(PAGES))]
    environment = Environment(MemoryCorpus(PAGES), Gateway(tools), Planner(), renderer, Limits(max_turns=3, max_tokens=300))
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3, head_dim=16,
        intermediate_size=96, max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)

    def clerk(request: Request) -> list[int]:
        shown = renderer.text(request.token_ids)
        if "</information>" in shown:
            return renderer.write(Turn(answer="Velor Tash"))
        if request.seed % 2:
            return renderer.write(Turn(answer="Ondal Brin"))
        city = shown.partition("mayor of ")[2].partition("?")[0]
        return renderer.write(Turn(calls=(ToolCall(name="search", arguments={"query": f"{city} mayor"}),)))

    async def learn() -> tuple[list[dict[str, Any]], list[float]]:
        groups = await environment.rollout(TASKS, ScriptedEngine(clerk), SamplingParams(), num_samples=16)
        samples = [sample for group in groups for sample in group_samples(group)]
        run = Run.create(tmp_path, {})
        sft = LearnerConfig(dtype="float32", optimizer=OptimizerConfig(name="adamw", lr=5e-3))
        train_supervised(
            "sft", Learner(model, sft, total_steps=80), lambda stream, _: stream.choice(samples), run=run, save=lambda: None,
            seed=0, batch_size=8, checkpoint_every=10**6, started=time.monotonic(),
        )  # fmt: skip
        common: dict[str, Any] = {
            "steps": 12,
            "tasks_per_step": 6,
            "samples": 8,
            "sampling": SamplingParams(max_tokens=30),
            "learner": LearnerConfig(dtype="float32", optimizer=OptimizerConfig(name="adamw", lr=1e-3, warmup=0, decay=0)),
            "checkpoint_every": 10**6,
        }
        stage = RLStage(**common | options)
        engine = LocalEngine(config, tokenizer, LocalEngineConfig(max_num_seqs=64))
        critic = None if stage.critic is None else Critic(model, stage.critic, total_steps=stage.steps, dtype="float32")
        learner = Learner(model, stage.learner, total_steps=stage.steps, critic=critic)
        draw = lambda stream, count: TASKS[:count]  # noqa: E731
        await train_rl(stage, learner, engine, environment, draw, run=run, save=lambda: None, seed=0, started=time.monotonic())
        final = await environment.rollout(TASKS, engine, SamplingParams(max_tokens=30), num_samples=8, seed=99)
        return run.events("rl"), [float(t.answer == "Velor Tash") for group in final for t in group]

    events, solved = asyncio.run(learn())
    rewards = [event["reward/mean"] for event in events]
    calls = [event["num_calls/mean"] for event in events]
    assert 0.25 < rewards[0] < 0.75, "the clerk is right half of the time"
    assert sum(rewards[-3:]) / 3 > 0.9 and sum(solved) / len(solved) > 0.9
    assert calls[0] < 0.8 < 0.9 < calls[-1], "it has learned to search first"
    assert max(event["rollout_corr/max_abs_diff"] for event in events) < 1e-3
