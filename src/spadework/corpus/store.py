"""Corpora that can be searched in memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from spadework.core.errors import InputError
from spadework.corpus.document import Document, Hit
from spadework.corpus.index import Bm25Index, analyse
from spadework.corpus.snippet import SnippetConfig, Unit, best_units, split_units

__all__ = ["MemoryCorpus"]

_CACHED_PAGES = 20_000
"""Pages whose units are kept analysed; about 5 kB each."""


class _Page(NamedTuple):
    id: str
    title: str
    units: list[Unit]


class _IndexedCorpus(ABC):
    """Search and look-up, given an index and documents by number."""

    def __init__(self, index: Bm25Index, snippets: SnippetConfig) -> None:
        self._index = index
        self._snippets = snippets
        self._page = lru_cache(maxsize=_CACHED_PAGES)(self._analysed)

    @abstractmethod
    def document(self, number: int) -> Document:
        """The document with this number, 0 <= number < len."""

    def _analysed(self, number: int) -> _Page:
        document = self.document(number)
        return _Page(document.id, document.title, split_units(document.text, analyse, chars=self._snippets.chars))

    def __len__(self) -> int:
        """Number of documents."""
        return len(self._index)

    def __iter__(self) -> Iterator[Document]:
        """All documents in a fixed order."""
        return (self.document(number) for number in range(len(self)))

    def get(self, key: str) -> Document | None:
        """The document with this id, else the first with exactly this title (case ignored), else None."""
        number = self._index.find(key)
        return None if number is None else self.document(number)

    def search(self, query: str, *, limit: int = 5) -> Sequence[Hit]:
        """The best documents for a query, best first, each with its best units; ties are broken by document order.

        Args:
            query: plain words; no operator means anything.
            limit: at most this many hits. Documents without a query term are no hits.
        """
        weights = self._index.weights(query)
        hits = []
        for number, score in self._index.search(weights, limit):
            page = self._page(number)
            hits.append(Hit(id=page.id, title=page.title, score=score, snippet=best_units(page.units, weights, self._snippets)))
        return hits


class MemoryCorpus(_IndexedCorpus):
    """A corpus in memory."""

    def __init__(self, documents: Iterable[Document], *, snippets: SnippetConfig | None = None) -> None:
        """Index documents.

        Args:
            documents: read once.
            snippets: how much of a page a hit shows.

        Raises:
            InputError: two documents have the same id.
        """
        self._documents = list(documents)
        seen: set[str] = set()
        for document in self._documents:
            if document.id in seen:
                raise InputError(f"document id '{document.id}' occurs twice; ids must be unique")
            seen.add(document.id)
        super().__init__(Bm25Index.build(self._documents), snippets or SnippetConfig())

    def document(self, number: int) -> Document:
        """The document with this number, 0 <= number < len."""
        return self._documents[number]
