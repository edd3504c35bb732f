"""What dense retrieval needs of a model: texts to vectors, and the fit of a document to a query as a number.

`corpus/sentence.py` has both through sentence-transformers; anything else that keeps to these contracts will do.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoder", "Reranker", "Vectors"]

Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Texts to vectors of length 1, so that their product is the cosine similarity."""

    name: str
    """Names the model; kept beside the vectors, because vectors of two models cannot be compared."""

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of queries, shape (texts, dimension)."""
        ...

    def documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of documents, shape (texts, dimension). Some models expect another prefix here than before a query."""
        ...


class Reranker(Protocol):
    """Reads a query and a document together, which is slower and better than comparing their vectors."""

    name: str

    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """One number for each text; the larger, the better it answers the query."""
        ...
