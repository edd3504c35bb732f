"""The sandbox, and servers on this machine: one that serves what it is told, and one that nobody may reach and that counts who tries."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from spadework.core.errors import InputError
from spadework.tools.sandboxes.bubblewrap import Bubblewrap
from spadework.tools.web.fetch import FetchConfig


@pytest.fixture(scope="session")
def backend() -> Bubblewrap:
    """Skips where this machine has no bubblewrap, and says why."""
    try:
        return Bubblewrap()
    except InputError as error:
        pytest.skip(str(error))


class Secret:
    """Listens on every loopback address, and counts connections; nothing has to be sent for one to count."""

    def __init__(self) -> None:
        self.connections = 0
        first = socket.create_server(("127.0.0.1", 0))
        self.port = first.getsockname()[1]
        self._sockets = [first]
        for host in ("127.0.0.2", "127.1.1.1"):
            self._sockets.append(socket.create_server((host, self.port)))
        with suppress(OSError):  # no IPv6 here
            self._sockets.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        for listener in self._sockets:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.settimeout(1)
                try:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nsecret")
                except OSError:
                    continue

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()


@pytest.fixture(scope="session")
def secret() -> Iterator[Secret]:
    server = Secret()
    yield server
    server.close()


class Answers(ThreadingHTTPServer):
    """Serves `pages`: path to (status, headers, body), or to a function of the handler that writes for itself."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, tuple[int, dict[str, str], bytes] | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        """Path and headers of every request."""
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def html(self, path: str, body: str, **headers: str) -> str:
        """Serve a page of HTML; returns its address."""
        self.pages[path] = (200, {"Content-Type": "text/html; charset=utf-8", **headers}, body.encode())
        return self.url + path

    def serve(self, path: str, mime: str, body: bytes, **headers: str) -> str:
        """Serve anything; returns its address."""
        self.pages[path] = (200, {"Content-Type": mime, **{name.replace("_", "-"): value for name, value in headers.items()}}, body)
        return self.url + path

    def redirect(self, path: str, location: str, status: int = 302) -> str:
        """Send visitors of a path elsewhere; returns its address."""
        self.pages[path] = (status, {"Location": location}, b"")
        return self.url + path

    def config(self, **options: object) -> FetchConfig:
        """What may be fetched: this server and nothing else on this machine."""
        return FetchConfig.parse({"allow_private": [f"127.0.0.1:{self.port}"], **options}, source="test")


class _Handler(BaseHTTPRequestHandler):
    server: Answers
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        page = self.server.pages.get(self.path, (404, {"Content-Type": "text/plain"}, b"no such page"))
        if callable(page):
            return page(self)
        status, headers, body = page
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def web() -> Iterator[Answers]:
    server = Answers()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
