"""A corpus under Search-R1's retrieval contract (arXiv 2503.09516), for trainers that speak it: Search-R1, verl, SkyRL, slime.

    with RetrievalServer(corpus) as url:      # POST url/retrieve, GET url/health

    {"queries": [...], "topk": 3, "return_scores": true}  ->  {"result": [[{"document": {"id", "title", "contents"}, "score"}, ...], ...]}

`contents` is the title in quotes, a line end and the text, as in its corpora. Without `return_scores` the documents stand in the lists by
themselves, as its server does. At most `most_working` requests search at once, so many clients wait instead of crowding each other out. A
request that is not of the contract is answered with status 400 and one line. It listens on 127.0.0.1 unless told otherwise, and knows no
login. `tools/providers/retrieve.py` is the other end.
"""

from typing import Any

from spadework.core.errors import InputError
from spadework.corpus.document import Corpus, Document, Hit
from spadework.tools.json_server import JsonServer

__all__ = ["RetrievalServer"]

_MOST_QUERIES = 4096
_MOST_RESULTS = 100


class RetrievalServer(JsonServer):
    """Serves a corpus until it is stopped. A context manager that gives the address."""

    path = "/retrieve"
    most_bytes = 16_000_000
    most_working = 8

    def __init__(self, corpus: Corpus, *, host: str = "127.0.0.1", port: int = 0, topk: int = 3) -> None:
        """Take the corpus; nothing listens yet.

        Args:
            corpus: is searched from several threads.
            host: which address to listen on.
            port: 0 takes a free one.
            topk: results where a request does not say how many.
        """
        super().__init__(host=host, port=port)
        self.corpus, self.topk = corpus, topk

    def health(self) -> dict[str, Any]:
        """Number of documents."""
        return {"documents": len(self.corpus)}

    def answer(self, body: Any) -> dict[str, Any]:
        """See `JsonServer`."""
        queries, topk, scores = _read(body, self.topk)
        return {"result": [[self._row(hit, scores) for hit in self._search(query, topk)] for query in queries]}

    def _search(self, query: str, topk: int) -> list[Hit]:
        return list(self.corpus.search(query, limit=topk)) if query.strip() else []

    def _row(self, hit: Hit, scores: bool) -> dict[str, Any]:
        document = self.corpus.get(hit.id)
        assert isinstance(document, Document), "a hit is of the corpus"
        shown = {"id": document.id, "title": document.title, "contents": f'"{document.title}"\n{document.text}'}
        return {"document": shown, "score": hit.score} if scores else shown


def _read(body: Any, default: int) -> tuple[list[str], int, bool]:
    """Queries, number of results, and whether scores are wanted.

    Raises:
        InputError: the request is not of the contract; names the key.
    """
    if not isinstance(body, dict):
        raise InputError("expected an object with queries")
    queries, topk, scores = body.get("queries"), body.get("topk"), body.get("return_scores", False)
    topk = default if topk is None else topk
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise InputError("queries: expected a list of texts")
    if len(queries) > _MOST_QUERIES:
        raise InputError(f"queries: at most {_MOST_QUERIES}, found {len(queries)}")
    if not isinstance(topk, int) or isinstance(topk, bool) or not 1 <= topk <= _MOST_RESULTS:
        raise InputError(f"topk: expected a number from 1 to {_MOST_RESULTS}, found {topk!r}")
    if not isinstance(scores, bool):
        raise InputError(f"return_scores: expected true or false, found {scores!r}")
    return queries, topk, scores
