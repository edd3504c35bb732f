"""When a sample is over: stop strings and stop tokens.

A stop string may begin and end anywhere inside tokens. Checking the text of every sequence after every token would cost more than sampling
it, so a table over the vocabulary says which tokens contain the last character of a stop string, and only after those the text is looked
at.
"""

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from spadework.core.errors import InputError

__all__ = ["StopRule"]


class StopRule:
    """One set of stop strings and stop tokens over one vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, strings: tuple[str, ...], token_ids: tuple[int, ...]) -> None:
        """Build the table.

        Raises:
            InputError: a stop string is empty.
        """
        if "" in strings:
            raise InputError("an empty stop string would end every sample at once; leave it out of `stop`")
        self._backend = tokenizer.backend_tokenizer
        self._strings = strings
        self._token_ids = frozenset(token_ids)
        self._reach = 4 * max((len(text) for text in strings), default=0) + 1
        """Tokens to look back: a character takes at most four byte tokens."""
        lasts = {text[-1] for text in strings}
        if lasts:
            # What a token that holds part of a character decodes to.
            lasts.add("\ufffd")
        # Decoders of the SentencePiece kind drop the space before a lone token.
        anything = any(last.isspace() for last in lasts)
        texts = self._backend.decode_batch([[token] for token in range(len(tokenizer))], skip_special_tokens=False)
        self.may_end: npt.NDArray[np.bool_] = np.array(
            [anything or token in self._token_ids or any(last in text for last in lasts) for token, text in enumerate(texts)]
        )
        """[V] whether a sample may end after this token."""

    def ends(self, sampled: npt.NDArray[np.int64]) -> bool:
        """Whether the last token completes a stop string or is a stop token."""
        if int(sampled[-1]) in self._token_ids:
            return True
        if not self._strings:
            return False
        tail = sampled[-self._reach :].tolist()
        text = self._backend.decode(tail, skip_special_tokens=False)
        before = self._backend.decode(tail[:-1], skip_special_tokens=False)
        return any(stop in text and stop not in before for stop in self._strings)
