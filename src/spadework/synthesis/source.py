"""Where tasks are drawn from, by name: a generated world or a corpus folder, the latter also as a model has read it."""

from pathlib import Path
from typing import Any, Self

from spadework.core.config import Config
from spadework.core.errors import InputError
from spadework.corpus.document import Corpus
from spadework.corpus.store import StoredCorpus, open_corpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import World, WorldConfig
from spadework.synthesis.claims import read_claims
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.read_graph import ReadGraph
from spadework.synthesis.statements import Graph, WorldGraph

__all__ = ["Source", "graph_of"]


class Source(Config):
    """One of the two."""

    world: WorldConfig | None = None
    """Generated anew wherever it is needed."""
    corpus: Path | None = None
    """A folder written by `spadework corpus build`."""
    statements: Path | None = None
    """What a model has read off its pages: a file written by `spadework corpus read`."""

    @classmethod
    def of(
        cls, corpus: Path | None, world: int | None, pages: int, settings: dict[str, Any] | None = None, statements: Path | None = None
    ) -> Self:
        """The source that the options of a command name.

        Args:
            corpus: a corpus folder.
            world: seed of a world.
            pages: of the world.
            settings: further ones of the world.
            statements: what a model has read off the pages of the corpus.

        Raises:
            InputError: neither or both are named, or what is given besides belongs to the other one.
        """
        if (corpus is None) == (world is None):
            raise InputError("name one source of tasks: --corpus DIR or --world SEED")
        if corpus is not None:
            if settings:
                raise InputError(f"'world.{next(iter(settings))}' is a setting of a world, and a corpus is named; leave it out")
            return cls(corpus=corpus, statements=statements)
        if statements is not None:
            raise InputError(f"{statements}: statements are read off the pages of a corpus, and a world is named; leave --statements out")
        return cls(world=WorldConfig.parse({"seed": world, "pages": pages, **(settings or {})}, source="world"))

    def documents(self) -> World | StoredCorpus:
        """Its pages, by id."""
        if self.world is not None:
            return build_world(self.world)
        assert self.corpus is not None
        return open_corpus(self.corpus)

    def graph(self) -> Graph:
        """Its graph."""
        documents = self.documents()
        if isinstance(documents, World):
            return WorldGraph(documents)
        return graph_of(documents, self.statements)


def graph_of(corpus: Corpus, statements: Path | None) -> Graph:
    """The graph of a corpus.

    Args:
        corpus: the pages.
        statements: what a model has read off them; None: without a model.

    Raises:
        InputError: there is no such file, or it is another one.
    """
    return CorpusGraph(corpus) if statements is None else ReadGraph(CorpusGraph(corpus), read_claims(statements))
