"""What the tests of single makers draw from."""

from functools import cache
from typing import Any

from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.statements import Graph, WorldGraph
from spadework.tasks.task import Task

__all__ = ["draw", "pages", "world"]


@cache
def world() -> WorldGraph:
    """1,000 pages, some entities with aliases."""
    return WorldGraph(build_world(WorldConfig(seed=2, pages=1_000, alias_rate=0.2)))


@cache
def pages() -> CorpusGraph:
    """The same pages as plain documents."""
    return CorpusGraph(MemoryCorpus([Document(id=page.id, title=page.title, text=page.text) for page in world().world]))


def draw(name: str, graph: Graph, n: int = 60, **options: Any) -> list[Task]:
    """Some tasks."""
    return list(tasks(makers.build(name, options), graph, seed=0, n=n))
