"""A small server of one contract: `POST PATH` with JSON answered with JSON, and `GET /health`, for trainers that connect in hundreds.

The standard library's server with a thread per request, because these contracts are synchronous and a client keeps its connection. A
request that is not of the contract gets status 400 and one line. Subclasses say what is answered; no login, no encryption.
"""

import json
from abc import ABC, abstractmethod
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Thread
from typing import Any, ClassVar

from spadework.core.errors import InputError, SpadeworkError

__all__ = ["JsonServer"]


class JsonServer(ABC):
    """Serves until it is stopped. A context manager that gives the address."""

    path: ClassVar[str]
    """Where requests are posted."""
    most_bytes: ClassVar[int]
    """Of a request."""
    most_working: ClassVar[int | None] = None
    """So many requests are worked on at once, so that many clients wait instead of crowding each other out."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Nothing listens yet.

        Args:
            host: which address to listen on.
            port: 0 takes a free one.
        """
        self.host, self.port = host, port
        self._working = BoundedSemaphore(self.most_working) if self.most_working else None
        self._server: _Listener | None = None
        self._thread: Thread | None = None

    @abstractmethod
    def answer(self, body: Any) -> dict[str, Any]:
        """The answer to a request; called from many threads.

        Raises:
            InputError: the request is not of the contract.
        """

    @abstractmethod
    def health(self) -> dict[str, Any]:
        """What `GET /health` adds to the status."""

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
        """Stop listening; where work is bounded, requests that have come are answered first."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        if self._working is not None:
            # A permit is held from the work to the last byte of its answer.
            for _ in range(self.most_working or 0):
                self._working.acquire(timeout=10)
        self._server.server_close()
        self._server = self._thread = None

    def __enter__(self) -> str:
        """Start."""
        return self.start()

    def __exit__(self, *exception: object) -> None:
        """Stop."""
        self.stop()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    """A trainer connects with all its trajectories at once."""


class _Handler(BaseHTTPRequestHandler):
    served: JsonServer
    protocol_version = "HTTP/1.1"
    timeout = 120
    wbufsize = -1
    """One packet for head and body; two would wait for each other's acknowledgement."""

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, {"status": "healthy", **self.served.health()})
        else:
            self._lost()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > self.served.most_bytes:
            self.close_connection = True
            return self._send(413, {"detail": f"a request has a length of at most {self.served.most_bytes:,} bytes"})
        raw = self.rfile.read(int(length))
        if self.path.rstrip("/") != self.served.path:
            return self._lost()
        with self.served._working or nullcontext():
            try:
                self._send(200, self.served.answer(json.loads(raw)))
            except (ValueError, InputError) as error:
                self._send(400, {"detail": " ".join(str(error).split())})
            except SpadeworkError as error:
                self._send(500, {"detail": " ".join(str(error).split())})
            self.wfile.flush()

    def _lost(self) -> None:
        self._send(404, {"detail": f"POST {self.served.path}, or GET /health"})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
