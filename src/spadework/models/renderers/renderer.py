"""The renderer contract: messages to token ids and back, for one chat template, exactly.

A conversation grows by appending: `prompt` renders its opening up to where the policy writes, the policy samples a turn, `extend` renders
what follows that turn up to where the policy writes again. `prompt + turn + extend + turn ...` is token for token what the template gives
for the whole conversation (prefix-exact), so nothing is ever re-tokenised. Text that comes from a page or a user is encoded as plain text:
a special token or a tag written in it never becomes one, so a page can not speak for the harness (invariant 8).
"""

from collections.abc import Sequence
from typing import Any, Protocol

from spadework.core.messages import Message, Turn

__all__ = ["Renderer"]


class Renderer(Protocol):
    """One chat template.

    Optional method, of templates in which the policy writes something that it should not be trained on:

        def loss_mask(self, token_ids: Sequence[int]) -> list[bool]    one entry per token of a sampled turn
    """

    name: str
    stop: tuple[str, ...]
    """Sampling stops when the new text contains one of these."""
    stop_token_ids: tuple[int, ...]
    """Sampling stops after one of these tokens."""
    vocab_size: int
    """Number of tokens that there are; its logarithm is the largest entropy of a token."""

    def prompt(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> list[int]:
        """Tokens of the opening messages, up to where the policy starts to write."""
        ...

    def extend(self, turn_ids: Sequence[int], messages: Sequence[Message]) -> list[int]:
        """Tokens that follow a sampled turn: its closing if the policy did not write it, the tool results, and the next opening."""
        ...

    def parse(self, token_ids: Sequence[int]) -> Turn:
        """What a sampled turn says."""
        ...

    def write(self, turn: Turn) -> list[int]:
        """Tokens of a turn as a well-behaved policy would sample them, its stop included.

        The inverse of `parse`, for scripted experts and SFT.
        """
        ...

    def text(self, token_ids: Sequence[int]) -> str:
        """The tokens as text, markup included: what a person or a scripted expert reads. Never encoded again."""
        ...

    def thought(self, text: str) -> list[int]:
        """Tokens of a thought by itself, closed: what the reading stage asks for."""
        ...
