"""When a sample is over: stop strings and stop tokens.

A stop string may begin and end anywhere inside tokens. Checking the text of every sequence after every token would cost more than sampling
it, so a table over the vocabulary says which tokens contain the last character of a stop string, and only after those the text is looked at.
"""

import numpy as np
from transformers import PreTrainedTokenizerBase

__all__ = ["StopRule"]


class StopRule:
    """One set of stop strings and stop tokens over one vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, strings: tuple[str, ...], token_ids: tuple[int, ...]) -> None:
        """Build the table."""
        self._backend = tokenizer.backend_tokenizer
        self._strings = strings
        self._token_ids = frozenset(token_ids)
        self._reach = 4 * max((len(text) for text in strings), default=0) + 1
        """Tokens to look back: a character takes at most four byte tokens."""
        lasts = {text[-1] for text in strings}
        texts = self._backend.decode_batch([[token] for token in range(len(tokenizer))], skip_special_tokens=False)
        self.may_end = np.array([token in self._token_ids or any(c in text for c in lasts) for token, text in enumerate(texts)])
        """[V] whether a sample may end after this token."""

    def ends(self, sampled: np.ndarray) -> bool:
        """Whether the last token completes a stop string or is a stop token."""
        if int(sampled[-1]) in self._token_ids:
            return True
        if not self._strings:
            return False
        tail = sampled[-self._reach :].tolist()
        text = self._backend.decode(tail, skip_special_tokens=False)
        before = self._backend.decode(tail[:-1], skip_special_tokens=False)
        return any(stop in text and stop not in before for stop in self._strings)
