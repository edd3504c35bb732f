"""Dense retrieval: one vector per document, and the exact best documents for a query by cosine similarity.

A document is encoded as its title and its text, cut at the model's window. All similarities are computed, so there is nothing to tune and
equal vectors are in document order: 100,000 vectors of 384 numbers are 150 MB, and a query is one product with a matrix. In a folder
the vectors are `vectors.npy`, memory-mapped, and `encoder.json` says which model they are of. Not done: approximate indexes (HNSW, IVF),
which pay from millions of documents on, and several vectors per document.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.encoder import Encoder, Vectors

__all__ = ["DenseIndex", "text_of"]

_BATCH = 256


def text_of(document: Document) -> str:
    """What a model reads of a document: the title, and the text unless that starts with it."""
    return document.text if document.text.startswith(document.title) else f"{document.title}\n{document.text}"


class DenseIndex:
    """Vectors of documents, which it knows by their number (0, 1, ...) in the order in which they came."""

    def __init__(self, vectors: Vectors, model: str) -> None:
        """Wrap vectors; use `build` or `open`.

        Args:
            vectors: shape (documents, dimension), of length 1.
            model: whose vectors they are.
        """
        self.vectors, self.model = vectors, model

    @classmethod
    def build(cls, documents: Iterable[Document], encoder: Encoder, folder: Path | None = None) -> "DenseIndex":
        """Encode documents.

        Args:
            documents: read once, in order; at least one.
            encoder: the model.
            folder: an existing empty folder to write to; None keeps the vectors in memory.
        """
        parts = [encoder.documents([text_of(document) for document in batch]) for batch in _batched(documents)]
        vectors = np.concatenate(parts)
        if folder is not None:
            np.save(folder / "vectors.npy", vectors)
            (folder / "encoder.json").write_text(json.dumps({"model": encoder.name}) + "\n", encoding="utf-8")
        return cls(vectors, encoder.name)

    @classmethod
    def open(cls, folder: Path) -> "DenseIndex":
        """Open vectors in a folder; they are memory-mapped.

        Raises:
            InputError: the folder holds no readable vectors.
        """
        try:
            model = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))["model"]
            return cls(np.load(folder / "vectors.npy", mmap_mode="r"), str(model))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder}: damaged vectors ({error}); build the corpus again with --dense MODEL") from None

    def __len__(self) -> int:
        """Number of documents."""
        return len(self.vectors)

    def search(self, query: Vectors, limit: int) -> list[tuple[int, float]]:
        """Numbers and cosine similarities of the best documents, best first; equal ones in document order.

        Args:
            query: shape (dimension,), of length 1.
            limit: at most this many.
        """
        limit = min(limit, len(self))
        if limit < 1:
            return []
        # The place of a row in a matrix can move its product by a last bit: equal documents must stay equal.
        scores = np.round(self.vectors @ query, 6)
        # The limit-th best score; everything that reaches it stays in, so that ties are broken by order and not by the partition.
        least = np.partition(scores, -limit)[-limit]
        candidates = np.flatnonzero(scores >= least)
        best = candidates[np.argsort(-scores[candidates], kind="stable")][:limit]
        return [(int(number), float(scores[number])) for number in best]


def _batched(documents: Iterable[Document]) -> Iterator[list[Document]]:
    rest = iter(documents)
    while batch := list(islice(rest, _BATCH)):
        yield batch
