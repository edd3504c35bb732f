"""The agent that a run has trained, ready to work: what `eval run` and `ask` build on.

The recipe of the run says which tools, protocol and budgets it has, and the newest checkpoint of a stage holds its weights.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from spadework.core.errors import InputError
from spadework.core.run import Run
from spadework.corpus.document import Corpus
from spadework.corpus.store import MemoryCorpus, open_corpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.engines.local import LocalEngine
from spadework.models.checkpoint import load_model, load_tokenizer, parameters
from spadework.models.renderers.registry import make_renderer
from spadework.pipeline.chain import make_engine, make_environment
from spadework.pipeline.data import load_data
from spadework.pipeline.recipe import Recipe
from spadework.rollout.environment import Environment
from spadework.tasks.task import Task

__all__ = ["Trained", "load_trained"]

_STAGES = ("rl", "sft", "reading")


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained agent in its environment."""

    recipe: Recipe
    environment: Environment
    engine: LocalEngine
    tasks: list[Task]
    """The held-out tasks of its recipe; none with other pages."""
    checkpoint: Path
    """The folder of its weights."""


async def load_trained(folder: Path, *, stage: str | None = None, corpus: Path | None = None, world: WorldConfig | None = None) -> Trained:
    """Load the agent of a run. The engine belongs to the event loop that runs this.

    Args:
        folder: the run.
        stage: take the policy after this stage; the last one that there is if None.
        corpus: search in this corpus folder instead of the run's held-out pages.
        world: search in this generated world instead.

    Raises:
        InputError: no run, no checkpoint of the stage, or no corpus.
    """
    run = Run.open(folder)
    recipe = Recipe.parse(run.recipe, source=str(folder / "recipe.yaml"))
    checkpoints = [run.checkpoints(name) for name in ([stage] if stage else _STAGES)]
    newest = next((found[-1][1] for found in checkpoints if found), None)
    if newest is None:
        raise InputError(f"{folder} has no checkpoint{f' of stage {stage}' if stage else ''} yet; continue the run with --resume")
    torch.set_num_threads(recipe.threads or os.cpu_count() or 1)
    tokenizer, model = load_tokenizer(newest), load_model(newest)
    pages: Corpus
    tasks: list[Task] = []
    if corpus is not None:
        pages = open_corpus(corpus, snippets=recipe.tools.snippet)
    elif world is not None:
        pages = MemoryCorpus(build_world(world).documents(), snippets=recipe.tools.snippet)
    else:
        data = load_data(recipe, training=False)
        pages, tasks = data.test, data.test_tasks
    engine = make_engine(recipe, model, tokenizer)
    await engine.load(parameters(model), 0)
    return Trained(recipe, make_environment(recipe, pages, make_renderer(recipe.model.renderer, tokenizer)), engine, tasks, newest)
