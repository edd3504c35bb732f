"""What gates that ask a model share: replies that are asked for in batches and read one by one.

A gate asks about a whole batch of tasks in `prepare` and reads the replies in its checks. A question without a usable reply leaves its
task undecided. After a row of them the endpoint counts as dead and nobody is asked any more, so that a dead server costs a few deadlines
and not one for every task. With a cache on disk a later run asks only what has no reply yet.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from spadework.core.errors import BrokenError
from spadework.rewards.endpoint import Endpoint
from spadework.synthesis.model import Model, NoReply

__all__ = ["Replies"]

T = TypeVar("T")


class Replies(Generic[T]):
    """Replies of an endpoint to the questions of one batch."""

    def __init__(self, endpoint: Endpoint, read: Callable[[str], T]) -> None:
        """Ask nobody yet.

        Args:
            endpoint: whom to ask.
            read: takes what is wanted from a reply; raises ValueError if the reply does not have it.
        """
        self.endpoint, self.read = endpoint, read
        self.dead = ""
        """Why nobody is asked any more; empty while somebody is."""
        self._model = Model(endpoint=endpoint)
        self._found: dict[str, T | NoReply] = {}

    def ask(self, prompts: Iterable[str]) -> None:
        """Ask these questions and forget the replies to others.

        Raises:
            InputError: the server refused the key, the model or the address.
        """
        self._found.clear()
        wanted = list(dict.fromkeys(prompts))
        size = self.endpoint.concurrency
        for start in range(0, len(wanted), size):
            part = wanted[start : start + size]
            if not self.dead:
                try:
                    self._found.update(zip(part, self._model.ask(part, self.read), strict=True))
                except BrokenError as error:
                    self.dead = str(error)
            if self.dead:
                self._found.update(self._model.known(part, self.read))

    def __getitem__(self, prompt: str) -> T:
        """What was read from the reply to a question.

        Raises:
            BrokenError: it has none.
        """
        reply = self._found.get(prompt, NoReply(self.dead))
        if isinstance(reply, NoReply):
            raise BrokenError(reply.reason)
        return reply

    def get(self, prompt: str) -> T | None:
        """The same, or None if there is none."""
        reply = self._found.get(prompt)
        return None if isinstance(reply, NoReply) else reply
