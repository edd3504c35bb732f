"""A document: one page with id, title, text and links. The unit of evidence everywhere.

Text is Markdown without front matter. Links are the titles or urls of other pages in the order in which they stand; a link to a page that
does not exist is a dead link, not an error.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict

__all__ = ["Corpus", "Document", "Hit", "Pages"]


class Document(BaseModel):
    """One page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    text: str
    url: str | None = None
    links: tuple[str, ...] = ()


class Hit(BaseModel):
    """A search result: a document, its score, and the passage of it that answers the query best."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    score: float
    snippet: str


class Pages(Protocol):
    """Documents that can be looked up: a corpus, or a generated world."""

    def get(self, key: str) -> Document | None:
        """The document with this id, else with exactly this title (case ignored), else None."""
        ...


class Corpus(Protocol):
    """A set of documents with search over it. `corpus/store.py` reads one from disk; a world is another."""

    def __len__(self) -> int:
        """Number of documents."""
        ...

    def __iter__(self) -> Iterator[Document]:
        """All documents in a fixed order."""
        ...

    def get(self, key: str) -> Document | None:
        """The document with this id, else with exactly this title (case ignored), else None."""
        ...

    def search(self, query: str, *, limit: int = 5) -> Sequence[Hit]:
        """The best documents for a query, best first; ties are broken by document order."""
        ...
