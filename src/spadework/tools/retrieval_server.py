"""A corpus under Search-R1's retrieval contract (arXiv 2503.09516), for trainers that speak it: Search-R1, verl, SkyRL, slime.

    with RetrievalServer(corpus) as url:      # POST url/retrieve, GET url/health

    {"queries": [...], "topk": 3, "return_scores": true}  ->  {"result": [[{"document": {"id", "title", "contents"}, "score"}, ...], ...]}

`contents` is the title in quotes, a line end and the text, as in its corpora. Without `return_scores` the documents stand in the lists by
themselves, as its server does. At most `_MOST_WORKING` requests search at once, so many clients wait instead of crowding each other out. A
request that is not of the contract is answered with status 400 and one line. It listens on 127.0.0.1 unless told otherwise, and knows no
login. `tools/providers/retrieve.py` is the other end.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Thread
from typing import Any

from spadework.core.errors import InputError
from spadework.corpus.document import Corpus, Document, Hit

__all__ = ["RetrievalServer"]

_MOST_BYTES = 16_000_000
_MOST_QUERIES = 4096
_MOST_RESULTS = 100
_MOST_WORKING = 8


class RetrievalServer:
    """Serves a corpus until it is stopped. A context manager that gives the address."""

    def __init__(self, corpus: Corpus, *, host: str = "127.0.0.1", port: int = 0, topk: int = 3) -> None:
        """Take the corpus; nothing listens yet.

        Args:
            corpus: is searched from several threads.
            host: which address to listen on.
            port: 0 takes a free one.
            topk: results where a request does not say how many.
        """
        self.corpus, self.host, self.port, self.topk = corpus, host, port, topk
        self._working = BoundedSemaphore(_MOST_WORKING)
        self._server: _Listener | None = None
        self._thread: Thread | None = None

    def start(self) -> str:
        """Listen, and return the address without a final slash.

        Raises:
            InputError: the port is taken or may not be used.
        """
        try:
            self._server = _Listener((self.host, self.port), type("Handler", (_Handler,), {"served": self}))
        except OSError as error:
            raise InputError(
                f"cannot listen on {self.host}:{self.port}: {error.strerror}; choose another port or 0 for a free one"
            ) from None
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return f"http://{self.host}:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Stop listening; requests that have come are answered first."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            # A permit is held from the search to the last byte of its answer.
            for _ in range(_MOST_WORKING):
                self._working.acquire(timeout=10)
            self._server.server_close()
            self._server = self._thread = None

    def __enter__(self) -> str:
        """Start."""
        return self.start()

    def __exit__(self, *exception: object) -> None:
        """Stop."""
        self.stop()

    def answer(self, body: Any) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            InputError: the request is not of the contract.
        """
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


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    """A trainer connects with all its trajectories at once."""


class _Handler(BaseHTTPRequestHandler):
    served: RetrievalServer
    protocol_version = "HTTP/1.1"
    timeout = 120
    wbufsize = -1
    """One packet for head and body; two would wait for each other's acknowledgement."""

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, {"status": "healthy", "documents": len(self.served.corpus)})
        else:
            self._send(404, {"detail": "POST /retrieve, or GET /health"})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MOST_BYTES:
            self.close_connection = True
            return self._send(413, {"detail": f"a request has a length of at most {_MOST_BYTES:,} bytes"})
        raw = self.rfile.read(int(length))
        if self.path.rstrip("/") != "/retrieve":
            return self._send(404, {"detail": "POST /retrieve, or GET /health"})
        with self.served._working:
            try:
                self._send(200, self.served.answer(json.loads(raw)))
            except (ValueError, InputError) as error:
                self._send(400, {"detail": " ".join(str(error).split())})
            self.wfile.flush()

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
