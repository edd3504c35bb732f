"""An engine that says what a function tells it to: for scripted experts and for tests.

Log-probabilities and entropies are 0: the reply is certain. They are no measurement of any model, so scripted turns may be imitated
(SFT), but importance ratios must not be formed with them.
"""

from collections.abc import Callable

from spadework.engines.engine import Completion, Request, Weights

__all__ = ["ScriptedEngine"]


class ScriptedEngine:
    """Answers every request with the tokens of a function; cut at `max_tokens` like any engine."""

    def __init__(self, reply: Callable[[Request], list[int]]) -> None:
        self.reply = reply
        self.version = 0

    async def generate(self, request: Request) -> Completion:
        """Return the scripted tokens with log-probability 0."""
        reply = self.reply(request)
        token_ids = reply[: request.params.max_tokens]
        count = len(token_ids)
        return Completion(
            token_ids=token_ids,
            logprobs=[0.0] * count,
            entropies=[0.0] * count,
            finish="stop" if count == len(reply) else "length",
            versions=[self.version] * count,
        )

    async def load(self, weights: Weights, version: int) -> None:
        """Note the version; a script has no weights."""
        self.version = version
