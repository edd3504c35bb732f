"""Where a run's pages, tasks and vocabulary come from. Everything is a function of the recipe, so a resumed run makes it again.

A world run has a training world and another for the evaluation, which share words but no entity. A corpus run has one set of documents,
split by page: no evidence page of an evaluation task serves a training task, and the reading stage sees training pages only. Search runs
over all of them. A data-set run has questions in two files; a training question that is also a test question is left out.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, cast

from transformers import PreTrainedTokenizerFast

from spadework.core.errors import InputError
from spadework.core.events import file_hash
from spadework.core.seeds import rng
from spadework.corpus.document import Corpus, Document
from spadework.corpus.ingest import read_documents
from spadework.corpus.store import MemoryCorpus, content_hash, open_corpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.lexicon import lexicon
from spadework.models.renderers.tags import ERRORS
from spadework.models.tokenizer import train_tokenizer
from spadework.pipeline.recipe import CorpusData, DatasetData, Recipe, WorldData
from spadework.synthesis.graph import make_chains
from spadework.synthesis.spans import Lead, Split, page_split, span_tasks
from spadework.tasks.dataset import read_tasks
from spadework.tasks.task import Task
from spadework.training.curation import PassRates
from spadework.training.stages import Mix

__all__ = ["Data", "TaskPool", "load_data", "make_tokenizer"]

POOL = 3000
"""Training tasks per number of hops."""


class TaskPool:
    """Training tasks by number of hops, drawn by shares."""

    def __init__(self, tasks: Mapping[int, Sequence[Task]], mix: Mix | None, rates: PassRates | None = None) -> None:
        """Take the hops that the mix names; without one every task is as likely as any other.

        With pass rates these choose among the tasks of a number of hops.

        Raises:
            InputError: there are no tasks of some number of hops.
        """
        if mix is None:
            mix = {hops: float(len(found)) for hops, found in tasks.items()}
        self._hops = [hops for hops, share in sorted(mix.items()) if share > 0]
        self._shares = [mix[hops] for hops in self._hops]
        self._tasks, self._rates = tasks, rates
        for hops in self._hops:
            if not tasks.get(hops):
                raise InputError(f"there are no training tasks of {hops} hops; leave {hops} out of the stage's hops")

    def draw(self, stream: random.Random, count: int) -> list[Task]:
        """Different tasks, in the order drawn; fewer than asked for only if there are no more."""
        drawn: dict[str, Task] = {}
        available = sum(len(self._tasks[hops]) for hops in self._hops)
        while len(drawn) < min(count, available):
            hops = stream.choices(self._hops, self._shares)[0]
            pool = self._tasks[hops]
            task = self._rates.pick(stream, hops, pool) if self._rates is not None else None
            if task is None or task.id in drawn:  # what the pass rates would choose may be fewer tasks than are asked for
                task = pool[stream.randrange(len(pool))]
            drawn.setdefault(task.id, task)
        return list(drawn.values())


@dataclass(frozen=True, slots=True)
class Data:
    """What a run learns from and is judged on."""

    train: Corpus
    test: Corpus
    pages: list[Document]
    """Pages that the reading stage and the tokenizer may see."""
    train_tasks: dict[int, list[Task]]
    """By number of hops."""
    test_tasks: list[Task]
    words: tuple[str, ...]
    """Words that get a token of their own."""
    hashes: dict[str, str]


def load_data(recipe: Recipe, *, training: bool = True) -> Data:
    """Make or read everything.

    Args:
        recipe: says what.
        training: also make the training pages and tasks; an evaluation does without.
    """
    if isinstance(recipe.data, WorldData):
        return _world(recipe, recipe.data, training)
    if isinstance(recipe.data, DatasetData):
        return _dataset(recipe, recipe.data, training)
    return _corpus(recipe, recipe.data, training)


def _wanted_hops(recipe: Recipe) -> list[int]:
    return sorted({hops for stage in (recipe.sft, recipe.rl) if stage for hops in stage.hops or ()})


def _world(recipe: Recipe, data: WorldData, training: bool) -> Data:
    test = build_world(data.test)
    test_corpus = MemoryCorpus(test.documents(), snippets=recipe.tools.snippet)
    test_tasks = make_chains(
        test, seed=recipe.seed, counts=dict.fromkeys(recipe.eval.hops or (), recipe.eval.tasks_per_hop), phrasings=data.phrasings
    )
    hashes = {"test_world": test.content_hash}
    if not training:
        return Data(test_corpus, test_corpus, [], {}, test_tasks, lexicon(), hashes)
    train = build_world(data.train)
    hashes["train_world"] = train.content_hash
    tasks = {hops: make_chains(train, seed=recipe.seed, counts={hops: POOL}, phrasings=data.phrasings) for hops in _wanted_hops(recipe)}
    train_corpus = MemoryCorpus(train.documents(), snippets=recipe.tools.snippet)
    return Data(train_corpus, test_corpus, train.documents(), tasks, test_tasks, lexicon(), hashes)


def _corpus(recipe: Recipe, data: CorpusData, training: bool) -> Data:
    documents: Iterable[Document] = open_corpus(data.path) if (data.path / "manifest.json").is_file() else read_documents(data.path)
    corpus = MemoryCorpus(list(documents), snippets=recipe.tools.snippet)
    test_tasks = []
    for hops in recipe.eval.hops or ():
        made = _spans(corpus, recipe.seed, "test", hops, data.lead, recipe.eval.tasks_per_hop)
        if len(made) < 2:
            raise InputError(f"{data.path}: its pages give {len(made)} held-out tasks of {hops} hops; use more documents or set eval.hops")
        test_tasks += made
    if not training:
        return Data(corpus, corpus, [], {}, test_tasks, (), {"corpus": content_hash(corpus)})
    tasks = {hops: _spans(corpus, recipe.seed, "train", hops, data.lead, POOL) for hops in _wanted_hops(recipe)}
    pages = [document for document in corpus if page_split(document.id) == "train"]
    return Data(corpus, corpus, pages, tasks, test_tasks, (), {"corpus": content_hash(corpus)})


def _spans(corpus: Corpus, seed: int, split: Split, hops: int, lead: Lead | None, count: int) -> list[Task]:
    """The first span tasks of a split; the recipe has checked the number of hops."""
    return list(islice(span_tasks(corpus, seed=seed, split=split, hops=cast(Literal[1, 2], hops), lead=lead), count))


def _dataset(recipe: Recipe, data: DatasetData, training: bool) -> Data:
    for what, path in (("corpus", data.corpus), ("train", data.train), ("test", data.test)):
        if not path.exists():
            raise InputError(f"data.{what}: {path} is not there; {f'get {data.origin}, or ' if data.origin else ''}set data.{what}=PATH")
    corpus: Corpus
    if (data.corpus / "manifest.json").is_file():
        stored = open_corpus(data.corpus, snippets=recipe.tools.snippet)
        corpus, hashes = stored, {"corpus": stored.manifest.content_hash}
    else:
        corpus = MemoryCorpus(list(read_documents(data.corpus)), snippets=recipe.tools.snippet)
        hashes = {"corpus": content_hash(corpus)}
    hashes |= {"test": file_hash(data.test)}
    asked = read_tasks(data.test)
    test_tasks = _held_out(recipe, data.test, asked)
    if not training:
        return Data(corpus, corpus, [], {}, test_tasks, (), hashes)
    known = {task.question for task in asked}
    tasks: dict[int, list[Task]] = {}
    for task in read_tasks(data.train):
        if task.question not in known:
            tasks.setdefault(task.hops, []).append(task)
    if not tasks:
        raise InputError(f"data.train: every question of {data.train} is also in {data.test}; give different files")
    imitates = recipe.sft and recipe.sft.rejection is None
    if imitates and (bare := next((task for found in tasks.values() for task in found if not task.meta.get("steps")), None)):
        raise InputError(
            f"sft: {data.train} has no demonstrations (task '{bare.id}' has no meta.steps for the scripted expert); set sft=null "
            "or sft.rejection={}"
        )
    evidence = {key for task in asked for key in task.evidence}
    # A checkpoint that reads nothing needs none of them, and a large corpus stays on disk.
    pages = [page for page in corpus if page.id not in evidence] if recipe.reading or recipe.model.preset else []
    return Data(corpus, corpus, pages, tasks, test_tasks, (), hashes | {"train": file_hash(data.train)})


def _held_out(recipe: Recipe, path: Path, tasks: list[Task]) -> list[Task]:
    """At most `eval.tasks_per_hop` of every number of hops, drawn by the run's seed, in the order of the file."""
    by_hops: dict[int, list[int]] = {}
    for index, task in enumerate(tasks):
        by_hops.setdefault(task.hops, []).append(index)
    if missing := sorted(set(recipe.eval.hops or ()) - by_hops.keys()):
        raise InputError(f"eval.hops: {path} has no questions of {missing[0]} hops; it has {', '.join(map(str, sorted(by_hops)))}")
    stream = rng(recipe.seed, "held out")
    chosen: list[int] = []
    for hops in sorted(recipe.eval.hops or by_hops):
        found = by_hops[hops]
        chosen += stream.sample(found, min(len(found), recipe.eval.tasks_per_hop))
    return [tasks[index] for index in sorted(chosen)]


def make_tokenizer(data: Data, vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer on the training pages, the questions, and what the harness says."""
    questions = [task.question for tasks in data.train_tasks.values() for task in tasks[:500]]
    texts = [f"{page.title}\n{page.text}" for page in data.pages[:5000]]
    return train_tokenizer([*texts, *questions, *ERRORS.values(), "No results."], vocab_size=vocab_size, words=data.words)
