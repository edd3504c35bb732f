"""A frozen model behind an OpenAI-compatible server, for rewards that ask one: judges, readers, raters.

A question is a prompt, a reply its text, at temperature 0 unless samples are wanted. Replies are cached on disk by content (model, prompt,
length, sampling), so a repeated or resumed run asks nothing twice. At most `concurrency` questions are open at once, and each has a
deadline that includes its retries. What the infrastructure does wrong (no connection, 429, 5xx, a body or a reply that cannot be read) is
retried and then a `BrokenError`: never a score. A refused key or an unknown model is an `InputError`. The key is read from the environment
and appears in no file and no message.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import Field, PrivateAttr

from spadework.core.config import Config
from spadework.core.errors import BrokenError, InputError

__all__ = ["Endpoint"]

T = TypeVar("T")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class _Retry(Exception):
    """This attempt failed and another may not. `wait`: seconds that the server asks for."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class Endpoint(Config):
    """Where a frozen model is, and how patiently it is asked."""

    url: str = Field(pattern=r"^https?://")
    """Base URL, for example http://127.0.0.1:8000/v1; `/chat/completions` is added."""
    model: str
    """Name of the model; pin a dated one, judges change."""
    key_env: str = "SPADEWORK_JUDGE_KEY"
    """Name of the environment variable that holds the key. Unset: no key is sent."""
    cache: Path | None = None
    """Folder for replies. Without one they are kept only for the batch that is being scored."""
    concurrency: int = Field(default=8, ge=1)
    """Open questions at once."""
    deadline: float = Field(default=120.0, gt=0)
    """Seconds for one question, retries included."""
    retries: int = Field(default=3, ge=0)
    """Further attempts after a failure."""
    backoff: float = Field(default=0.5, ge=0)
    """Seconds before the first retry; doubled each time."""
    max_tokens: int = Field(default=1024, ge=1)
    """Length of a reply."""
    temperature: float = Field(default=0.0, ge=0)
    """0 for a judgement; above it for samples."""
    seed: int | None = None
    """Sent along where there is one: other seeds are other samples."""

    _replies: dict[str, str] = PrivateAttr(default_factory=dict)
    _failures: dict[str, str] = PrivateAttr(default_factory=dict)

    def ask(self, prompt: str, read: Callable[[str], T]) -> T:
        """Ask one question, or look up its reply.

        Args:
            prompt: the user message.
            read: takes what is wanted from a reply; raises ValueError if the reply does not have it.

        Raises:
            BrokenError: the infrastructure failed, now or in `prefetch`, or no attempt gave a reply that can be read.
            InputError: the server refused the key, the model or the address.
        """
        key = self._key(prompt)
        if key in self._failures:
            raise BrokenError(self._failures[key])
        if (reply := self._known(key)) is None:
            with self._client() as client:
                reply = self._fetch(client, key, prompt, read)
        return read(reply)

    def knows(self, prompt: str) -> bool:
        """Whether a question has its reply already."""
        return self._known(self._key(prompt)) is not None

    def prefetch(self, prompts: Iterable[str], read: Callable[[str], object]) -> None:
        """Ask many questions at once; `ask` then finds their replies, or their failures.

        Raises:
            InputError: the server refused the key, the model or the address.
        """
        wanted = {self._key(prompt): prompt for prompt in prompts}
        self._replies = {key: reply for key, reply in self._replies.items() if key in wanted}
        self._failures.clear()
        missing = {key: prompt for key, prompt in wanted.items() if self._known(key) is None}
        if not missing:
            return

        def fetch(key: str) -> None:
            try:
                self._fetch(client, key, missing[key], read)
            except BrokenError as error:
                self._failures[key] = str(error)

        with self._client() as client, ThreadPoolExecutor(min(self.concurrency, len(missing))) as pool:
            list(pool.map(fetch, missing))

    def _key(self, prompt: str) -> str:
        sampling = [] if self.temperature == 0.0 and self.seed is None else [self.temperature, self.seed]
        return hashlib.sha256(json.dumps([self.model, self.max_tokens, prompt, *sampling]).encode()).hexdigest()

    def _path(self, key: str) -> Path | None:
        return self.cache / key[:2] / f"{key}.json" if self.cache else None

    def _known(self, key: str) -> str | None:
        if key not in self._replies and (path := self._path(key)) is not None and path.is_file():
            self._replies[key] = str(json.loads(path.read_text(encoding="utf-8"))["reply"])
        return self._replies.get(key)

    def _keep(self, key: str, prompt: str, reply: str) -> None:
        self._replies[key] = reply
        if (path := self._path(key)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{os.getpid()}")  # renamed when whole: a killed run leaves no half reply
            draft.write_text(json.dumps({"model": self.model, "prompt": prompt, "reply": reply}, ensure_ascii=False), encoding="utf-8")
            draft.replace(path)

    def _client(self) -> httpx.Client:
        # A proxy of the environment cannot reach this machine's own loopback.
        return httpx.Client(trust_env=httpx.URL(self.url).host not in _LOOPBACK)

    def _fetch(self, client: httpx.Client, key: str, prompt: str, read: Callable[[str], object]) -> str:
        until = time.monotonic() + self.deadline
        failure = ""
        for attempt in range(self.retries + 1):
            if time.monotonic() >= until:
                break
            try:
                reply = self._post(client, prompt, until)
                read(reply)
            except (_Retry, ValueError) as error:
                failure = str(error)
                wait = max(self.backoff * 2**attempt, error.wait if isinstance(error, _Retry) else 0.0)
                if attempt < self.retries:
                    time.sleep(min(wait, max(0.0, until - time.monotonic())))
                continue
            self._keep(key, prompt, reply)
            return reply
        raise BrokenError(f"{self.model} at {self.url} gave no usable reply in {self.deadline:g} s and {self.retries} retries: {failure}")

    def _post(self, client: httpx.Client, prompt: str, until: float) -> str:
        body: dict[str, Any] = {
            "model": self.model,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": prompt}],
        }
        if self.seed is not None:
            body["seed"] = self.seed
        try:
            with client.stream(
                "POST",
                f"{self.url.rstrip('/')}/chat/completions",
                json=body,
                headers=self._headers(),
                timeout=max(0.01, until - time.monotonic()),
            ) as response:
                received = b""
                for chunk in response.iter_bytes():  # a server that drips bytes meets the deadline here and not in the client's timeout
                    received += chunk
                    if time.monotonic() > until:
                        raise _Retry("the reply was not finished in time")
        except httpx.RequestError as error:
            raise _Retry(f"{type(error).__name__} {error}".strip()) from None
        return self._content(response, received)

    def _headers(self) -> dict[str, str]:
        secret = os.environ.get(self.key_env, "").strip()
        if not (secret.isascii() and secret.isprintable()):  # else the client quotes it in its complaint
            raise InputError(f"${self.key_env} holds characters that no key has; set it again")
        return {"Authorization": f"Bearer {secret}"} if secret else {}

    def _content(self, response: httpx.Response, body: bytes) -> str:
        status = response.status_code
        if status in (401, 403, 404):
            raise InputError(f"{self.url} answers {status} for model '{self.model}'; check the address, the model and ${self.key_env}")
        if status in (408, 409, 425, 429) or status >= 500:
            pause = response.headers.get("retry-after", "")
            raise _Retry(f"HTTP {status}", float(pause) if pause.isdecimal() else 0.0)
        if status != 200:
            raise BrokenError(f"{self.url} refused a question with HTTP {status}: {body[:200].decode('utf-8', 'replace')}")
        try:
            content = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError):
            raise _Retry(f"the body is not a chat completion: {body[:80].decode('utf-8', 'replace')}") from None
        if not isinstance(content, str):
            raise _Retry("the reply has no text")
        return content
