"""The chain: data, tokenizer, model, reading, SFT, RL, with a held-out evaluation after every stage; killed runs go on where they stopped.

Each stage leaves three things in the run folder: checkpoints, events, and `evals/STAGE.json` with its report card, which is written last.
On a resume a stage that has its card is skipped, and one that has checkpoints goes on from the newest.
"""

import asyncio
import copy
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from spadework.agents.planner import Planner
from spadework.core.errors import InputError
from spadework.core.events import read_json, write_json
from spadework.core.interrupts import on_interrupt
from spadework.core.progress import Progress
from spadework.core.run import Run, peak_rss_bytes
from spadework.core.seeds import derive_seed, rng
from spadework.corpus.document import Corpus
from spadework.engines.engine import SamplingParams
from spadework.engines.local import LocalEngine, LocalEngineConfig
from spadework.evals.metrics import ReportCard, compare, report_card
from spadework.evals.statistics import mean_interval, paired_difference
from spadework.models.checkpoint import WRAPPER, load_model, load_tokenizer, parameters
from spadework.models.induction import start_with_induction
from spadework.models.presets import new_model
from spadework.models.renderers.registry import make_renderer
from spadework.models.renderers.renderer import Renderer
from spadework.pipeline.data import Data, TaskPool, load_data, make_tokenizer
from spadework.pipeline.demonstrations import expert_demonstrations, sampled_demonstrations
from spadework.pipeline.recipe import Recipe
from spadework.rewards.reward import GroupReward
from spadework.rollout.environment import Environment
from spadework.tasks.task import Task
from spadework.tools.budget import BudgetError, Spending
from spadework.tools.faults import Faults
from spadework.tools.gateway import Gateway
from spadework.tools.recorder import Recorder, open_recorder
from spadework.tools.tool import ToolContext
from spadework.training.critic import Critic
from spadework.training.curation import PassRates
from spadework.training.learner import Learner, LearnerConfig
from spadework.training.packed import ModelWeights, compute_dtype
from spadework.training.reading import make_reading_sample
from spadework.training.rl import train_rl
from spadework.training.stages import Mix, RLStage, SFTStage
from spadework.training.supervised import train_supervised
from spadework.training.teacher import check_teacher, load_teacher
from spadework.training.trainer_state import load_trainer_state, save_stage
from spadework.trajectories.packing import Sample, make_sample
from spadework.trajectories.store import Record, read_records, write_records
from spadework.trajectories.tree import Status, Trajectory

__all__ = ["evaluate", "make_engine", "make_environment", "prepare_model", "run_pipeline"]

STAGES = ("reading", "sft", "rl")


def run_pipeline(recipe: Recipe, out: Path, resume: bool = False) -> dict[str, Any]:
    """Carry out a recipe in a run folder.

    Args:
        recipe: what to do.
        out: the run folder.
        resume: go on with the run that is there.

    Returns:
        The run's summary (DESIGN section 8), which is also written to `summary.json`.

    Raises:
        InputError: the folder holds another run or another process writes it, the data cannot be read, or the disk is full.
    """
    torch.set_num_threads(recipe.threads or os.cpu_count() or 1)
    values = recipe.model_dump(mode="json")
    Run.check(out, values, resume)
    data = load_data(recipe)
    run = Run.create(out, values, seeds={"run": recipe.seed}, hashes=data.hashes, resume=resume)
    with run.locked():
        pipeline = _Pipeline(recipe, run, data)
        asyncio.run(pipeline.carry_out())
        return pipeline.summarise()


@dataclass(slots=True)
class _Pipeline:
    recipe: Recipe
    run: Run
    data: Data
    tokenizer: PreTrainedTokenizerFast = field(init=False)
    renderer: Renderer = field(init=False)
    model: PreTrainedModel = field(init=False)
    engine: LocalEngine = field(init=False)
    train: Environment = field(init=False)
    test: Environment = field(init=False)
    started: float = field(init=False)

    async def carry_out(self) -> None:
        """All stages; the tools are given back however it ends."""
        try:
            await self._stages()
        finally:
            for environment in (getattr(self, "train", None), getattr(self, "test", None)):
                if environment is not None:
                    await environment.gateway.close()

    async def _stages(self) -> None:
        before = max((event["time"] for event in self.run.events() if "time" in event), default=0.0)
        self.started = time.monotonic() - before
        self.tokenizer, self.model = prepare_model(self.recipe, self.data, self.run)
        # Now, and not after hours of other stages.
        if self.recipe.rl is not None and self.recipe.rl.teacher is not None:
            check_teacher(self.recipe.rl.teacher, self.tokenizer)
        if self.recipe.sft is not None and self.recipe.sft.rejection is not None and self.recipe.sft.rejection.policy is not None:
            check_teacher(self.recipe.sft.rejection.policy, self.tokenizer, "sft.rejection.policy")
        self.renderer = make_renderer(self.recipe.model.renderer, self.tokenizer)
        self.engine = make_engine(self.recipe, self.model, self.tokenizer)
        spending = Spending(self.recipe.tools.gateway.run_budget, self.run.path / "spent.jsonl")
        recorder = open_recorder(self.recipe.tools.tape, self.run.path)
        self.train, self.test = (
            make_environment(self.recipe, corpus, self.renderer, tasks=tasks, folder=self.run.path, recorder=recorder, spending=spending)
            for corpus, tasks in (
                (self.data.train, chain.from_iterable(self.data.train_tasks.values())),
                (self.data.test, self.data.test_tasks),
            )
        )
        for stage, carry_out in (("reading", self._reading), ("sft", self._sft), ("rl", self._rl)):
            config = getattr(self.recipe, stage)
            if config is None or not config.steps:
                continue
            if self._card_path(stage).is_file():
                self._load_last(stage)
                continue
            begin = time.monotonic()
            await carry_out()
            await self._evaluate(stage, time.monotonic() - begin)

    def _card_path(self, stage: str) -> Path:
        return self.run.path / "evals" / f"{stage}.json"

    def _load_last(self, stage: str) -> None:
        checkpoints = self.run.checkpoints(stage)
        if not checkpoints:
            raise InputError(f"{self.run.path}: stage '{stage}' is done but its checkpoint is gone; start a new run with another --out")
        _copy_weights(load_model(checkpoints[-1][1]), self.model)

    def _learner(
        self,
        stage: str,
        config: LearnerConfig,
        steps: int,
        *,
        frozen: Mapping[str, ModelWeights] | None = None,
        critic: Critic | None = None,
    ) -> Learner:
        """A learner at the start of a stage, or where an earlier process left it."""
        checkpoints = self.run.checkpoints(stage)
        if checkpoints:
            _copy_weights(load_model(checkpoints[-1][1]), self.model)
        learner = Learner(self.model, config, total_steps=steps, frozen=frozen, critic=critic)
        if checkpoints:
            load_trainer_state(checkpoints[-1][1], self.model, learner)
        self.run.rewind(stage, learner.step_number)
        return learner

    async def _reading(self) -> None:
        config = self.recipe.reading
        assert config is not None
        self._supervised(
            "reading", config, lambda stream, step: make_reading_sample(self.data.pages, self.renderer, config.phase_at(step), stream)
        )

    async def _sft(self) -> None:
        config = self.recipe.sft
        assert config is not None
        samples = await self._demonstrations(config)
        replay = config.replay

        def draw(stream: random.Random, _: int) -> Sample:
            if replay is not None and stream.random() < replay.share:
                return make_reading_sample(self.data.pages, self.renderer, replay, stream)
            return samples[stream.randrange(len(samples))]

        self._supervised("sft", config, draw)

    def _supervised(self, stage: str, config: Any, draw: Callable[[random.Random, int], Sample]) -> None:
        learner = self._learner(stage, config.learner, config.steps)
        # A loop that awaits nothing: the event loop's own handler would wait for the next await, which comes after the stage.
        with on_interrupt(signal.default_int_handler):
            train_supervised(
                stage,
                learner,
                draw,
                run=self.run,
                save=lambda: save_stage(self.run, stage, learner, self.tokenizer),
                seed=self.recipe.seed,
                batch_size=config.batch_size,
                checkpoint_every=config.checkpoint_every,
                started=self.started,
            )

    async def _demonstrations(self, config: SFTStage) -> list[Sample]:
        """What is imitated: trajectories of the scripted expert or of a policy, through the real tools."""
        seed = self.recipe.seed
        tasks = self._pool(config.hops).draw(rng(seed, "demonstrations"), config.demonstrations)
        if config.rejection is None:
            return [_flat(one) for one in await expert_demonstrations(self.train, tasks, config.expert, seed)]
        model, engine = self.model, self.engine
        if config.rejection.policy is not None:
            model = load_model(config.rejection.policy).to(self.recipe.device)
            engine = make_engine(self.recipe, model, self.tokenizer)
        await engine.load(parameters(model), 0)
        return [_flat(one) for one in await sampled_demonstrations(self.train, tasks, config.rejection, engine, self.run, seed)]

    def _pool(self, mix: Mix | None, rates: PassRates | None = None) -> TaskPool:
        return TaskPool(self.data.train_tasks, mix, rates)

    async def _rl(self) -> None:
        config = self.recipe.rl
        assert config is not None
        # Both are made from what the stage starts from, which a resume must not take from the checkpoint.
        frozen = self._frozen(config)
        critic = None
        if config.critic is not None:
            critic = Critic(self.model, config.critic, total_steps=config.steps, dtype=config.learner.dtype)
        learner = self._learner("rl", config.learner, config.steps, frozen=frozen, critic=critic)
        rates = PassRates(self.run.path / "pass_rates.jsonl", config.curation, learner.step_number) if config.curation else None

        def save() -> Path:
            return save_stage(self.run, "rl", learner, self.tokenizer)

        try:
            await train_rl(
                config,
                learner,
                self.engine,
                self.train,
                self._pool(config.hops, rates).draw,
                run=self.run,
                save=save,
                seed=self.recipe.seed if config.seed is None else config.seed,
                started=self.started,
                observe=rates.observe if rates is not None else None,
            )
        except BudgetError:
            # What was learned is kept; with a higher budget the run goes on from here.
            if learner.step_number:
                save()
            raise

    def _frozen(self, config: RLStage) -> dict[str, ModelWeights]:
        """The models that the stage's objective reads and nobody trains."""
        frozen = {}
        if "reference_logprobs" in config.parts().objective.needs:
            start = {name: tensor.detach().clone() for name, tensor in parameters(self.model).items()}
            frozen["reference_logprobs"] = ModelWeights(self.model.config, start)
        if config.teacher is not None:
            device = self.recipe.device
            frozen["teacher_logprobs"] = load_teacher(config.teacher, device=device, dtype=compute_dtype(config.learner.dtype, device))
        return frozen

    async def _evaluate(self, stage: str, seconds: float) -> None:
        """Greedy and sampled success on the held-out tasks; the cards are the stage's last file."""
        await self.engine.load(parameters(self.model), 0)
        cards: dict[str, Any] = {}
        for way, temperature in (("greedy", 0.0), ("sampled", 1.0)):
            card, trajectories = await evaluate(
                self.recipe, self.test, self.engine, self.data.test_tasks, temperature=temperature, description=f"eval {stage}, {way}"
            )
            cards[way] = card.model_dump(mode="json")
            if way == "greedy":
                if objectives := await self._objectives(stage, trajectories):
                    cards["objectives"] = objectives
                tasks = {task.id: task.model_dump(mode="json") for task in self.data.test_tasks}
                records = [Record(trajectory, tasks[trajectory.task_id]) for trajectory in trajectories]
                write_records(self.run.path / "trajectories" / f"eval-{stage}.jsonl", records)
        self._card_path(stage).parent.mkdir(exist_ok=True)
        write_json(self._card_path(stage), {"seconds": seconds, "tokens": self._tokens(stage), **cards})

    async def _objectives(self, stage: str, trajectories: list[Trajectory]) -> dict[str, Any]:
        """The held-out mean of every reward of a trajectory, unweighted, where RL has several; before RL too, to compare with.

        Rewards that compare a group are left out with all others, because a greedy evaluation has no groups.
        """
        if stage == "reading" or self.recipe.rl is None or len(self.recipe.rl.rewards) < 2:
            return {}
        rubric = self.recipe.rl.parts().rubric
        if any(isinstance(term.reward, GroupReward) for term in rubric.terms):
            return {}
        # On copies: a reward that breaks a trajectory must not change the evaluation.
        scored = copy.deepcopy(trajectories)
        await asyncio.to_thread(rubric.score_groups, self.data.test_tasks, [[trajectory] for trajectory in scored], 1.0)
        usable = [trajectory.rewards for trajectory in scored if trajectory.status is not Status.BROKEN]
        names = sorted({name for rewards in usable for name in rewards})
        return {
            name: mean_interval([rewards[name] for rewards in usable if name in rewards], amounts=True).model_dump(mode="json")
            for name in names
        }

    def _tokens(self, stage: str) -> float:
        return sum(event.get("tokens", 0) for event in self.run.events(stage))

    def summarise(self) -> dict[str, Any]:
        """Write and return the summary: what each stage reached, and what RL gained over SFT, paired by question."""
        unseen = set(self.recipe.eval.unseen_hops)
        whole, cards, stages = {}, {}, {}
        for stage in STAGES:
            if not self._card_path(stage).is_file():
                continue
            stored = read_json(self._card_path(stage))
            whole[stage] = ReportCard.model_validate(stored["greedy"])
            cards[stage] = _restrict(self.data.test_tasks, unseen, self.run, stage)
            stages[stage] = _figures(cards[stage], whole[stage], stored)
        summary: dict[str, Any] = {
            "name": self.recipe.name,
            "seed": self.recipe.seed,
            "seconds": time.monotonic() - self.started,
            "peak_rss_bytes": peak_rss_bytes(),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "vocabulary": len(self.tokenizer),
            "data": self.data.hashes | {"pages_train": len(self.data.train), "pages_test": len(self.data.test)},
            "unseen_hops": sorted(unseen),
            "stages": stages,
        }
        if "sft" in cards and "rl" in cards:
            summary["gain"] = compare(cards["rl"], cards["sft"]).differences["success"].model_dump(mode="json")
            summary["gain_by_hops"] = _gain_by_hops(whole["rl"], whole["sft"])
        self.run.finish(summary)
        return summary


def _figures(card: ReportCard, whole: ReportCard, stored: dict[str, Any]) -> dict[str, Any]:
    """What the summary says of a stage: figures over the trained numbers of hops, success by hops over all."""
    names = ("success", "f1", "calls", "calls_per_solved", "evidence_recall", "format_errors", "tokens", "truncated", "broken")
    values = card.model_dump(mode="json")
    return {
        "seconds": stored["seconds"],
        "trained_tokens": stored["tokens"],
        "success_by_hops": whole.model_dump(mode="json")["success_by_hops"],
        "sampled_success_by_hops": stored["sampled"]["success_by_hops"],
        **{name: values[name] for name in names if values[name] is not None},
        **({"objectives": stored["objectives"]} if "objectives" in stored else {}),
    }


def _gain_by_hops(first: ReportCard, second: ReportCard) -> dict[str, dict[str, Any]]:
    """Paired differences in success for every number of hops that has two questions, the ones never trained on too."""
    pairs: dict[int, list[tuple[float, float]]] = {}
    before = {question.id: question.success for question in second.questions}
    for question in first.questions:
        pairs.setdefault(question.hops, []).append((question.success, before[question.id]))
    return {
        str(hops): paired_difference([a for a, _ in pairs[hops]], [b for _, b in pairs[hops]]).model_dump(mode="json")
        for hops in sorted(pairs)
        if len(pairs[hops]) >= 2
    }


def _restrict(tasks: list[Task], unseen: set[int], run: Run, stage: str) -> ReportCard:
    """The card of the tasks whose number of hops was trained on."""
    wanted = [task for task in tasks if task.hops not in unseen]
    ids = {task.id for task in wanted}
    records = read_records(run.path / "trajectories" / f"eval-{stage}.jsonl")
    return report_card(wanted, [record.trajectory for record in records if record.trajectory.task_id in ids])


def _flat(trajectory: Trajectory) -> Sample:
    path = trajectory.path(trajectory.nodes[-1].id)
    return make_sample([t for node in path for t in node.token_ids], [m for node in path for m in node.mask])


@torch.no_grad()
def _copy_weights(source: PreTrainedModel, target: PreTrainedModel) -> None:
    """Parameters by name; a saved adapter is loaded without the wrapper that PEFT puts around a model in training."""
    saved = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        parameter.copy_(saved[name.removeprefix(WRAPPER)])


def prepare_model(recipe: Recipe, data: Data, run: Run) -> tuple[PreTrainedTokenizerFast, PreTrainedModel]:
    """The tokenizer and the model that a run starts from; a trained tokenizer is kept in the run folder."""
    if recipe.model.path is not None:
        tokenizer = load_tokenizer(recipe.model.path)
        model = load_model(recipe.model.path)
        if recipe.model.lora_rank:
            from spadework.models.lora import add_adapters

            model = add_adapters(model, recipe.model.lora_rank, seed=recipe.seed)
        return tokenizer, model.to(recipe.device)
    folder = run.path / "tokenizer"
    if not folder.is_dir():
        make_tokenizer(data, recipe.model.vocab_size).save_pretrained(folder)
    tokenizer = load_tokenizer(folder)
    assert recipe.model.preset is not None
    seed = derive_seed(recipe.seed, "weights")
    model = new_model(
        recipe.model.preset,
        len(tokenizer),
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.pad_token_id,
        seed=seed,
    )
    if recipe.model.induction:
        start_with_induction(model, seed=seed)
    return tokenizer, model.to(recipe.device)


def make_environment(
    recipe: Recipe,
    corpus: Corpus,
    renderer: Renderer,
    *,
    tasks: Iterable[Task] = (),
    folder: Path | None = None,
    recorder: Recorder | None = None,
    spending: Spending | None = None,
) -> Environment:
    """The recipe's agent and tools over a corpus.

    Args:
        recipe: tools, limits, faults and budgets.
        corpus: what is searched and read.
        renderer: the chat template.
        tasks: what is asked there, for tools that are told (`ToolContext.extras["gold"]`).
        folder: of the run, where tools may keep things.
        recorder: of the run's tape. Without it nothing is recorded or replayed.
        spending: of the run. Without it the run's budget holds for this environment alone.
    """
    config = recipe.tools
    gold = {task.id: (task.question, task.answers) for task in tasks}
    gateway = Gateway(
        config.build(ToolContext(corpus=corpus, seed=recipe.seed, folder=folder, extras={"gold": gold})),
        config.gateway,
        recorder=recorder,
        faults=Faults(config.faults, seed=recipe.seed) if config.faults else None,
        spending=spending,
        images=folder / "trajectories" / "images" if folder is not None else None,
        seed=recipe.seed,
    )
    return Environment(corpus, gateway, Planner(recipe.planner), renderer, recipe.limits)


def make_engine(recipe: Recipe, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> LocalEngine:
    """The local engine for a recipe, without weights yet."""
    config = LocalEngineConfig(kv_cache_dtype=recipe.kv_cache_dtype, device=recipe.device, max_model_len=recipe.limits.max_tokens + 1)
    return LocalEngine(model.config, tokenizer, config)


async def evaluate(
    recipe: Recipe, environment: Environment, engine: LocalEngine, tasks: list[Task], *, temperature: float, description: str
) -> tuple[ReportCard, list[Trajectory]]:
    """Attempt every task once and report; temperature 0 is greedy."""
    params = SamplingParams(temperature=temperature, max_tokens=recipe.eval.max_tokens)
    with Progress(description, len(tasks), unit="questions") as progress:
        groups = await environment.rollout(
            tasks, engine, params, seed=derive_seed(recipe.seed, "eval"), progress=lambda _: progress.advance()
        )
    trajectories = [trajectory for group in groups for trajectory in group]
    return report_card(tasks, trajectories), trajectories
