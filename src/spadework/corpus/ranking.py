"""How documents are ranked: by words (BM25), by meaning (dense), by both (hybrid), and again by a model that reads query and document.

Hybrid is reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009): a document's score is the sum of 1 / (60 + rank) over the rankings
in which it stands, ranks from 1. Scores of the rankings are not compared, so nothing has to be calibrated. Reranking reads the first
30 documents of a ranking and sorts them by the reranker's score. Not done: learned sparse vectors, query expansion, weights of rankings.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from spadework.core.errors import InputError
from spadework.corpus.dense import DenseIndex, text_of
from spadework.corpus.document import Document, Hit
from spadework.corpus.encoder import Encoder, Reranker
from spadework.corpus.store import IndexedCorpus, StoredCorpus

__all__ = ["DEPTH", "RRF_K", "Mode", "RankedCorpus", "rank_corpus", "reciprocal_rank_fusion"]

Mode = Literal["bm25", "dense", "hybrid"]
RRF_K = 60
"""The constant of the paper, section 2."""
DEPTH = 100
"""Documents of each ranking that are fused. The paper fuses runs of 1,000."""
_RERANKED = 30
"""Documents that a reranker reads: it takes milliseconds for each of them."""


def reciprocal_rank_fusion(rankings: Iterable[Sequence[int]], *, k: int = RRF_K) -> list[tuple[int, float]]:
    """Fuse rankings.

    Args:
        rankings: document numbers, best first, each at most once.
        k: how little the first ranks stand out.

    Returns:
        Numbers and scores, best first; equal scores in document order.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, number in enumerate(ranking, start=1):
            scores[number] = scores.get(number, 0.0) + 1 / (k + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


class RankedCorpus:
    """A corpus whose search ranks in another way; all else is that of the corpus below."""

    def __init__(
        self,
        base: IndexedCorpus,
        mode: Mode,
        *,
        dense: tuple[DenseIndex, Encoder] | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        """Put rankings together; `rank_corpus` finds and loads what is needed.

        Args:
            base: documents, BM25 and snippets.
            mode: the first ranking.
            dense: vectors of the documents, and the encoder that they are of; needed by `dense` and `hybrid`.
            reranker: reads the first documents again.

        Raises:
            InputError: vectors are missing, are not of these documents, or are not of this encoder.
        """
        if mode != "bm25" and dense is None:
            raise InputError(f"search mode '{mode}' needs vectors of the documents")
        if dense is not None:
            index, encoder = dense
            if len(index) != len(base):
                raise InputError(f"{len(index)} vectors for {len(base)} documents; build the corpus again with --dense MODEL")
            if index.model != encoder.name:
                raise InputError(f"the vectors are of the model {index.model}, not of {encoder.name}")
        self.base, self.mode, self.dense, self.reranker = base, mode, dense, reranker

    def __len__(self) -> int:
        """Number of documents."""
        return len(self.base)

    def __iter__(self) -> Iterator[Document]:
        """All documents in a fixed order."""
        return iter(self.base)

    def get(self, key: str) -> Document | None:
        """The document with this id, else with exactly this title (case ignored), else None."""
        return self.base.get(key)

    def search(self, query: str, *, limit: int = 5) -> Sequence[Hit]:
        """The best documents for a query, best first; scores are those of the last ranking."""
        depth = max(limit, _RERANKED) if self.reranker is not None else limit
        ranked = self._rank(query, depth)
        if self.reranker is not None and ranked:
            numbers = [number for number, _ in ranked]
            scores = self.reranker.scores(query, [text_of(self.base.document(number)) for number in numbers])
            # Stable: equal scores keep the order of the first ranking.
            ranked = sorted(zip(numbers, scores, strict=True), key=lambda item: -item[1])
        return self.base.hits(query, ranked[:limit])

    def _rank(self, query: str, limit: int) -> list[tuple[int, float]]:
        if self.mode == "bm25":
            return self.base.rank(query, limit)
        if self.mode == "dense":
            return self._nearest(query, limit)
        depth = max(limit, DEPTH)
        rankings = (self.base.rank(query, depth), self._nearest(query, depth))
        return reciprocal_rank_fusion([[number for number, _ in ranking] for ranking in rankings])[:limit]

    def _nearest(self, query: str, limit: int) -> list[tuple[int, float]]:
        assert self.dense is not None
        index, encoder = self.dense
        return index.search(encoder.queries([query])[0], limit)


def rank_corpus(
    corpus: IndexedCorpus, mode: Mode, *, encoder: str | None = None, reranker: str | None = None
) -> IndexedCorpus | RankedCorpus:
    """A corpus that ranks in a mode; the models are loaded.

    Args:
        corpus: documents; a stored one that was built with an encoder has its vectors.
        mode: the first ranking.
        encoder: a model for the vectors of a corpus that has none, such as a generated world: they are made now, in memory.
        reranker: a cross-encoder.

    Raises:
        InputError: vectors or a package are missing, a model cannot be loaded, or `encoder` has no effect.
    """
    if mode == "bm25" and encoder is not None:
        raise InputError(f"the encoder {encoder} has no effect in search mode 'bm25'; take 'dense' or 'hybrid'")
    if mode == "bm25" and reranker is None:
        return corpus
    from spadework.corpus.sentence import CrossEncoderReranker, SentenceEncoder

    dense = None
    if mode != "bm25":
        folder = corpus.folder / "dense" if isinstance(corpus, StoredCorpus) else None
        stored = DenseIndex.open(folder) if folder is not None and folder.is_dir() else None
        if stored is None and encoder is None:
            raise InputError(
                f"search mode '{mode}' needs vectors of the documents; build the corpus with --dense MODEL, or name an encoder"
            )
        if stored is not None and encoder not in (None, stored.model):
            raise InputError(f"the vectors in {folder} are of the model {stored.model}, not of {encoder}")
        model = SentenceEncoder(encoder or stored.model)  # type: ignore[union-attr]  # one of them is there
        dense = (stored or DenseIndex.build(corpus, model), model)
    return RankedCorpus(corpus, mode, dense=dense, reranker=CrossEncoderReranker(reranker) if reranker is not None else None)
