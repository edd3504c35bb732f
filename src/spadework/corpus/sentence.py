"""Encoders and rerankers of sentence-transformers: the one module that imports it. Extra `dense`.

A model is a name of the Hugging Face hub or a folder. Prompts that a model declares for queries and documents (E5, BGE, Qwen3-Embedding)
are put before the texts by the library. One call at a time: its tokenizers may not be shared by threads.
"""

import importlib.util
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from spadework.core.errors import InputError
from spadework.corpus.encoder import Vectors

__all__ = ["CrossEncoderReranker", "SentenceEncoder"]

_BATCH = 64


def _load(kind: str, model: str, device: str | None) -> Any:
    if importlib.util.find_spec("sentence_transformers") is None:
        raise InputError(f"the model {model} needs the package sentence-transformers; install spadework[dense]")
    import sentence_transformers

    try:
        return getattr(sentence_transformers, kind)(model, device=device)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot load the model {model}: {str(error).splitlines()[0]}") from None


class SentenceEncoder:
    """An encoder."""

    def __init__(self, model: str, *, device: str | None = None) -> None:
        """Load a model.

        Args:
            model: name on the hub, or a folder.
            device: for torch; the library's choice if not given.

        Raises:
            InputError: the package is missing, or the model cannot be loaded.
        """
        self.name = model
        self._model = _load("SentenceTransformer", model, device)
        self._turn = Lock()

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of queries, shape (texts, dimension), of length 1."""
        return self._encode(self._model.encode_query, texts)

    def documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of documents, shape (texts, dimension), of length 1. What exceeds the model's window is cut off."""
        return self._encode(self._model.encode_document, texts)

    def _encode(self, encode: Any, texts: Sequence[str]) -> Vectors:
        with self._turn:
            vectors = encode(list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(vectors, dtype=np.float32)


class CrossEncoderReranker:
    """A reranker: a cross-encoder."""

    def __init__(self, model: str, *, device: str | None = None) -> None:
        """Load a model; see `SentenceEncoder`."""
        self.name = model
        self._model = _load("CrossEncoder", model, device)
        self._turn = Lock()

    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """One number for each text; the larger, the better it answers the query.

        Raises:
            InputError: the model gives several numbers for a pair, so it is no reranker.
        """
        with self._turn:
            scores = np.asarray(self._model.predict([(query, text) for text in texts], batch_size=_BATCH, show_progress_bar=False))
        if scores.ndim != 1:
            raise InputError(f"the model {self.name} gives {scores.shape[-1]} numbers for a query and a document; a reranker gives one")
        return [float(score) for score in scores]
