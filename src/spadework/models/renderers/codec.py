"""Text to token ids and back, with a wall between the harness's marks and everybody else's text.

A rendering is a list of pieces: an `int` is a token of the harness (a control token, a tag), a `str` is plain text. Plain text is encoded
by a copy of the tokenizer that has no added tokens, so whatever is written in it, it can not become one. Neighbouring strings are joined
before they are encoded, therefore ordinary text gets the tokens that the Hugging Face tokenizer gives the rendered template.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from spadework.core.errors import ConfigError

__all__ = ["Codec", "Piece"]

Piece: TypeAlias = int | str


class Codec:
    """The two directions for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._full: Tokenizer = tokenizer.backend_tokenizer
        state = json.loads(self._full.to_str())
        added = {token["content"]: token["id"] for token in state["added_tokens"]}
        # The post-processor may name special tokens; it is never run, and without it they need not exist.
        self._plain = Tokenizer.from_str(json.dumps(state | {"added_tokens": [], "post_processor": None}))
        self._added = added
        self._split = re.compile("|".join(re.escape(token) for token in sorted(added, key=len, reverse=True)) or r"(?!)")

    def token(self, text: str) -> int | None:
        """The id of an added token, or None when this vocabulary has no such token."""
        return self._added.get(text)

    def required(self, text: str) -> int:
        """The id of an added token.

        Raises:
            ConfigError: this vocabulary has no such token.
        """
        if text not in self._added:
            raise ConfigError(f"the tokenizer has no token '{text}', which this renderer needs: add it, or take another renderer")
        return self._added[text]

    def marks(self, text: str) -> list[Piece]:
        """Pieces of the harness's own text: added tokens that are written in it are meant."""
        pieces: list[Piece] = []
        end = 0
        for match in self._split.finditer(text):
            pieces += [text[end : match.start()], self._added[match[0]]]
            end = match.end()
        return [piece for piece in [*pieces, text[end:]] if piece != ""]

    def encode(self, pieces: Iterable[Piece]) -> list[int]:
        """Token ids of pieces."""
        ids: list[int] = []
        text = ""
        for piece in pieces:
            if isinstance(piece, str):
                text += piece
                continue
            if text:
                ids += self._plain.encode(text, add_special_tokens=False).ids
                text = ""
            ids.append(piece)
        if text:
            ids += self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of tokens, added ones included."""
        return self._full.decode(token_ids, skip_special_tokens=False)
