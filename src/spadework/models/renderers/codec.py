"""Text to token ids and back, with a wall between the harness's marks and everybody else's text.

A rendering is a list of pieces: an `int` is a token of the harness (a control token, a tag), a `str` is plain text. Plain text is encoded
by the same model without added tokens, so whatever is written in it, it can not become one. Neighbouring strings are joined
before they are encoded, therefore ordinary text gets the tokens that the Hugging Face tokenizer gives the rendered template.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from spadework.core.errors import ConfigError
from spadework.core.messages import Turn

__all__ = ["Codec", "Piece"]

Piece: TypeAlias = int | str
_HIDING = "\ufdd0"
_PROBE = "\uff1c\u200b\n\x00\U0010fffd\u00ad"
"""What a vocabulary that can spell everything gives back as it was."""


class Codec:
    """The two directions for one tokenizer.

    Args:
        tokenizer: needs `<|im_start|>` and `<|im_end|>` as added tokens.
        tags: names of the tags that the harness or the policy writes.

    Raises:
        ConfigError: the vocabulary lacks a control token, or its model spells added tokens by itself.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, tags: Sequence[str]) -> None:
        self._full: Tokenizer = tokenizer.backend_tokenizer
        self._added: dict[str, int] = {token.content: index for index, token in self._full.get_added_tokens_decoder().items()}
        self._plain = Tokenizer(self._full.model)
        self._plain.pre_tokenizer, self._plain.normalizer = self._full.pre_tokenizer, self._full.normalizer
        self._check_wall()
        self.vocab_size = len(tokenizer)
        self._splits = _any_of(self._added)
        self.start, self.end = (self._control(text) for text in ("<|im_start|>", "<|im_end|>"))
        others = (tokenizer.eos_token_id, tokenizer.pad_token_id)
        self.endings = frozenset([self.end, *(token for token in others if token is not None)])
        """Tokens that end a message: `<|im_end|>`, the end of text, the padding."""
        marks = [f"<{slash}{tag}>" for tag in tags for slash in ("", "/")]
        self._marks: dict[str, Piece] = {text: self._added.get(text, text) for text in marks}
        self._spelled = _any_of(text for text in marks if text not in self._added)
        self._tokens = {self._added[text]: text for text in marks if text in self._added}
        self._imitated = _any_of(self._tokens.values())
        self._hidden = _any_of(_hidden(text) for text in self._tokens.values())
        # NFKC makes `<answer>` of full-width brackets, and a vocabulary that leaves out what it does not know makes it of `<\u200banswer>`.
        self._faithful = self.decode(self._text_ids(_PROBE)) == _PROBE

    def _control(self, text: str) -> int:
        if text not in self._added:
            raise ConfigError(f"the tokenizer has no token '{text}', which every renderer needs; add it and train its embedding")
        return self._added[text]

    def _check_wall(self) -> None:
        # Unigram models, and BPE models that take whole pre-tokens, can reach an added token that stands in their own vocabulary.
        ids = set(self._added.values())
        for text in self._added:
            if not ids.isdisjoint(self._text_ids(text)):
                raise ConfigError(
                    f"the tokenizer's model reads '{text}' in plain text as the token, so pages could write it; use another one"
                )

    def mark(self, text: str) -> Piece:
        """A tag such as `</think>`: a token where the vocabulary has it, else its text."""
        return self._marks[text]

    def foreign(self, text: str) -> str:
        """Text of a user or a page. Tags that the vocabulary has as text are disarmed: `</answer>` becomes `[/answer]`."""
        if not self._faithful:
            # As the tokens say it, where only then a tag comes to light.
            plain = self.decode(self._text_ids(text))
            text = plain if self._spelled.search(plain) else text
        return self._spelled.sub(lambda match: f"[{match[0][1:-1]}]", text)

    def marks(self, text: str) -> list[Piece]:
        """Pieces of the harness's own text: added tokens that are written in it are meant."""
        pieces: list[Piece] = []
        end = 0
        for match in self._splits.finditer(text):
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
            else:
                ids += self._text_ids(text)
                ids.append(piece)
                text = ""
        return ids + self._text_ids(text)

    def _text_ids(self, text: str) -> list[int]:
        if not text:
            return []
        # Half a surrogate pair, as broken pages contain, becomes a question mark: the tokenizer refuses it.
        ids: list[int] = self._plain.encode(text.encode("utf-8", "replace").decode(), add_special_tokens=False).ids
        return ids

    def unended(self, token_ids: Sequence[int]) -> Sequence[int]:
        """A turn without the tokens that end it."""
        count = len(token_ids)
        while count and token_ids[count - 1] in self.endings:
            count -= 1
        return token_ids[:count]

    def said(self, token_ids: Sequence[int]) -> str:
        """The text of a sampled turn, for a parser. Where the vocabulary has a tag as a token, nothing else is that tag.

        A policy that copies a page's `<tool_call>` letter by letter has quoted it and called nothing: a noncharacter inside keeps such a
        text from being read as the tag. `restored` takes it out again.
        """
        text = self.decode(token_ids)
        if len(self._imitated.findall(text)) == sum(token in self._tokens for token in token_ids):
            return text
        said, start = "", 0
        for end, token in enumerate(token_ids):
            if token in self._tokens:
                said += self._imitated.sub(_hide, self.decode(token_ids[start:end])) + self._tokens[token]
                start = end + 1
        return said + self._imitated.sub(_hide, self.decode(token_ids[start:]))

    def restored(self, turn: Turn) -> Turn:
        """A turn that was read from what was `said`, with the policy's own letters."""
        text, count = self._hidden.subn(lambda match: match[0].replace(_HIDING, ""), turn.model_dump_json())
        return Turn.model_validate_json(text) if count else turn

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of tokens, added ones included."""
        return self._full.decode(token_ids, skip_special_tokens=False)


def _hidden(tag: str) -> str:
    return f"<{_HIDING}{tag[1:]}"


def _hide(tag: re.Match[str]) -> str:
    return _hidden(tag[0])


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the texts, the longest first; nothing if there are none."""
    return re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)) or r"(?!)")
