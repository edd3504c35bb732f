"""A scripted judge: a real HTTP server on loopback with an OpenAI-compatible endpoint, for tests and for runs without a model.

It answers by a rule and can be told to fail: a sequence of faults, one per request in order of arrival, after which it works. Its default
rule reads the JSON values of this package's prompts: an answer is right if it is an exact match, and of two texts the one with more
different words is better. It records the requests and how many requests were open at once. Not done here: sampling, streaming, other
routes.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

from spadework.rewards.matching import em, norm_squad

__all__ = ["Fault", "JudgeServer", "rule"]

Fault = Literal["none", "error", "busy", "denied", "refused", "drop", "silent", "drip", "garbage", "mute", "empty"]
"""500; 429; 401; 400; the connection closed; no reply at all; a byte now and then; a body that is not JSON; a reply without
a verdict; one without a text."""
_STATUS = {"error": 500, "busy": 429, "denied": 401, "refused": 400}


def rule(prompt: str) -> str:
    """The default rule for the prompts `correctness` and `pairwise`; "Score: 1" and "Answer: unknown" for the others."""
    values = {name: json.loads(text) for name, text in re.findall(r'^([A-Z][\w ]+): (["\[].*)$', prompt, re.MULTILINE)}
    if "Answer to grade" in values:
        return f"By rule.\nVerdict: {'yes' if em(values['Answer to grade'], values['Accepted answers']) else 'no'}"
    if "Text A" in values:
        first, second = (len(set(norm_squad(values[name]).split())) for name in ("Text A", "Text B"))
        return f"By rule.\nVerdict: {'tie' if first == second else 'A' if first > second else 'B'}"
    return "By rule.\nVerdict: yes\nScore: 1\nAnswer: unknown"


class JudgeServer:
    """The server; a context manager.

    Args:
        reply: prompt -> text of the reply.
        faults: one per request; `itertools.repeat("error")` fails for ever.
        delay: seconds that every reply takes.
    """

    def __init__(self, reply: Callable[[str], str] = rule, *, faults: Iterable[Fault] = (), delay: float = 0.0) -> None:
        self.reply, self.faults, self.delay = reply, iter(faults), delay
        self.prompts: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.most_open = 0
        self.open = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """What an `Endpoint` takes as its `url`.

        Raises:
            RuntimeError: the server does not run.
        """
        if self._server is None:
            raise RuntimeError("the judge server runs inside its with block")
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        """Start on a free port."""
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop; silent connections are closed."""
        self.closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_of: JudgeServer

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        judge = self.server_of
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        with judge.lock:
            judge.prompts.append(prompt)
            judge.bodies.append(body)
            judge.keys.append(self.headers.get("Authorization"))
            fault: Fault = next(judge.faults, "none")
            judge.open += 1
            judge.most_open = max(judge.most_open, judge.open)
        judge.closing.wait(judge.delay)
        with judge.lock:  # before the reply: the client may ask again before this thread runs on
            judge.open -= 1
        self._answer(judge, fault, prompt)

    def _answer(self, judge: JudgeServer, fault: Fault, prompt: str) -> None:
        if fault == "drop":
            self.close_connection = True
        elif fault == "silent":
            judge.closing.wait(60)
        elif fault == "drip":
            self._drip(judge)
        elif fault == "garbage":
            self._send(200, b"<html>not json")
        elif status := _STATUS.get(fault):
            self._send(status, b"{}")
        else:
            content = {"mute": "I would rather not say.", "empty": None}[fault] if fault in ("mute", "empty") else judge.reply(prompt)
            self._send(200, json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self, judge: JudgeServer) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        try:
            while not judge.closing.is_set():
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.02)
        except OSError:  # the client has gone
            self.close_connection = True
