"""One full GRPO step: generation, reward, advantages, one optimiser update; ours beside `GRPOTrainer` of TRL.

Same model, same prompts, same counts of tokens, AdamW on both sides, PPO's clip, no reference model. The reward is the share of even
tokens: trivial, and different within a group. TRL runs at the fastest of its settings, which is found first.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from benchmarks.models import new_policy, word_tokenizer
from benchmarks.table import Row, speed_row
from spadework.algorithms.credit.grpo import GRPO
from spadework.algorithms.losses.ppo_clip import PPOClip
from spadework.engines.engine import Request, SamplingParams
from spadework.engines.local import LocalEngine, LocalEngineConfig
from spadework.training.learner import Learner, LearnerConfig
from spadework.training.optimizer import OptimizerConfig
from spadework.trajectories.packing import group_samples, make_packs
from spadework.trajectories.tree import Group, Status, Trajectory

__all__ = ["Step", "reward", "rows"]


@dataclass(frozen=True, slots=True)
class Step:
    """Size of a step."""

    tasks: int = 16
    samples: int = 8
    prompt: int = 64
    completion: int = 128


def reward(tokens: list[int]) -> float:
    """Share of even tokens."""
    return sum(token % 2 == 0 for token in tokens) / len(tokens)


def _prompts(size: Step, vocab_size: int) -> list[list[int]]:
    rng = random.Random(0)
    return [rng.choices(range(2, vocab_size), k=size.prompt) for _ in range(size.tasks)]


def our_step(preset: str, size: Step, device: str, dtype: str, layers: int | None) -> Callable[[int], float]:
    """Our side: a function that does one step and returns its seconds."""
    model = new_policy(preset, layers=layers).to(device)
    tokenizer = word_tokenizer(model.config.vocab_size)
    config = LearnerConfig(optimizer=OptimizerConfig(name="adamw", lr=1e-4), dtype="auto", max_tokens_per_pack=4400)
    learner = Learner(model, config, total_steps=1000)
    engine = LocalEngine(model.config, tokenizer, LocalEngineConfig(dtype=dtype, device=device, max_num_seqs=size.tasks * size.samples))
    loop = asyncio.new_event_loop()
    prompts = _prompts(size, model.config.vocab_size)
    params = SamplingParams(max_tokens=size.completion)
    credit, loss = GRPO(), PPOClip()

    async def attempt(task: int, sample: int, seed: int) -> Trajectory:
        trajectory = Trajectory(f"task-{task}", sample)
        root = trajectory.add("prompt", prompts[task], parent=None)
        completion = await engine.generate(Request(prompts[task], params, seed))
        trajectory.add(
            "generation", completion.token_ids, parent=root.id, logprobs=completion.logprobs, entropies=completion.entropies, version=0
        )
        trajectory.reward = reward(completion.token_ids)
        trajectory.status = Status.COMPLETED
        return trajectory

    async def rollout(number: int) -> list[Group]:
        await engine.load(learner.weights, number)
        each = [(task, sample) for task in range(size.tasks) for sample in range(size.samples)]
        done = await asyncio.gather(*(attempt(task, sample, hash((number, task, sample)) & (2**63 - 1)) for task, sample in each))
        return [Group(f"task-{task}", [t for t in done if t.task_id == f"task-{task}"]) for task in range(size.tasks)]

    def step(number: int) -> float:
        begin = time.perf_counter()
        groups = loop.run_until_complete(rollout(number))
        for group in groups:
            credit(group)
        packs = make_packs([group_samples(group) for group in groups], config.max_tokens_per_pack)
        learner.step(packs, loss)
        return time.perf_counter() - begin

    return step


def rows(
    preset: str, *, runs: int, device: str = "cpu", dtype: str = "float32", layers: int | None = None, size: Step | None = None
) -> list[Row]:
    """Measure one step with one thread per core, as both libraries do by themselves, and with as many as torch is set to.

    Args:
        preset: name of the model.
        runs: measured pairs.
        device: of both sides.
        dtype: of our sampler; the learner chooses its own, and TRL the faster one.
        layers: cut the model to this many layers.
        size: of the step.
    """
    from benchmarks.peers.trl_grpo import TrlSetting, run_steps

    size = size or Step()
    batch = size.tasks * size.samples

    def peer(setting: TrlSetting, steps: int, between: Callable[[int], None]) -> list[float]:
        model = new_policy(preset, layers=layers).to(device)
        tokenizer = word_tokenizer(model.config.vocab_size)
        prompts = [" ".join(f"w{token}" for token in prompt) for prompt in _prompts(size, model.config.vocab_size)]
        return run_steps(
            model, tokenizer, prompts, reward, setting, samples=size.samples, completion=size.completion, steps=steps, between=between
        )

    def row(name: str, settings: Sequence[TrlSetting]) -> tuple[Row, TrlSetting]:
        tried = {setting: peer(setting, 1, lambda _: None)[0] for setting in settings}
        best = min(settings, key=tried.__getitem__)
        ours = our_step(preset, size, device, dtype, layers)
        ours(0)
        seconds: list[float] = []
        theirs = peer(best, runs, lambda number: seconds.append(ours(number)))
        return speed_row(name, seconds, theirs, peer_name=str(best)), best

    sizes = sorted({min(number, batch) for number in ((8, 16, 32) if device == "cpu" else (32, batch))})
    settings = [TrlSetting(kind, micro) for kind in ("float32", "bfloat16") for micro in sizes]
    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    if device != "cpu" or cores <= threads:
        return [row("grpo_step", settings)[0]]
    few, best = row(f"grpo_step/{threads}_thread{'s' * (threads > 1)}", settings)
    torch.set_num_threads(cores)
    try:
        # Which type is the faster one does not change with the threads; trying the other takes most of the time.
        all_cores, _ = row("grpo_step", [setting for setting in settings if setting.dtype == best.dtype])
    finally:
        torch.set_num_threads(threads)
    return [all_cores, few]
