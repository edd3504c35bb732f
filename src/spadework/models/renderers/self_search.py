"""Self-search: the policy writes what a search engine would have answered (SSRL, arXiv 2508.10874).

    <think> ...</think><search> ...</search><information> ...</information> ... <answer> ...</answer>

The tags are those of Search-R1 (`tags.py`), but a whole attempt is one turn: sampling stops at the closing answer tag only, so no tool
call leaves. At test the same policy can search for real with the renderer `tags`, which stops it at each query (sim-to-real in the paper).

What the policy wrote as information carries no loss: it is to learn what to ask and how to use what it knows, not to imitate its own pages
(the paper masks these tokens). The tags around it do carry loss, because nobody else writes them here. Tokens that a text tag shares with
its neighbourhood count as outside. Left out: searching for real where the policy is uncertain (entropy-guided search).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerFast

from spadework.core.errors import InputError
from spadework.core.messages import Turn
from spadework.models.renderers.tags import DEFAULT_TOOLS, ERRORS, TagsRenderer

__all__ = ["SelfSearchRenderer"]

_INSTRUCTION = """\
Answer the question at the end. Reason between <think> and </think> first. When you miss a piece of knowledge, write a query between \
<search> and </search>, and then, between <information> and </information>, what a search engine would answer, from what you know. Do this \
as often as you like. When you know the answer, write it between <answer> and </answer>, as briefly as possible and without an explanation.

Question: """


class SelfSearchRenderer(TagsRenderer):
    """Renders and parses attempts in which the policy answers its own queries.

    Args:
        tokenizer: as for `TagsRenderer`.
        tools: their tags may be written; the policy answers them itself.
        instruction: stands before the question. Empty for a model that learns the tags by itself; None for a text that explains them.
    """

    name = "self-search"

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, *, tools: Sequence[Mapping[str, Any]] = DEFAULT_TOOLS, instruction: str | None = ""
    ) -> None:
        super().__init__(tokenizer, tools=tools, instruction=_INSTRUCTION if instruction is None else instruction)
        closing = self._codec.mark("</answer>")
        self.stop = (closing,) if isinstance(closing, str) else ()
        self.stop_token_ids = (*((closing,) if isinstance(closing, int) else ()), *sorted(self._codec.endings))

    def parse(self, token_ids: Sequence[int]) -> Turn:
        """The answer, and everything before it as the thought. An attempt without an answer has an `error`."""
        text = self._codec.decode(self._codec.unended(token_ids))
        opened: str | None = None
        end = start = 0
        awaiting = False
        for match in self._tag.finditer(text):
            slash, tag = match.groups()
            block = text[end : match.start()].strip().replace("\n ", "\n")
            end = match.end()
            if slash and opened != tag:
                return _failed("nested" if opened else "unopened", tag=opened or tag, inner=tag)
            if not slash and opened:
                return _failed("nested", tag=opened, inner=tag)
            if slash and tag != "think" and not block:
                return _failed("empty", tag=tag)
            if not slash and tag == "information" and not awaiting:
                return Turn(error="information stands without a query")
            if slash and tag == "answer":
                return Turn(thought=text[:start].strip(), answer=block)
            awaiting = bool(slash) and tag in self._arguments if tag != "information" else False
            opened = None if slash else tag
            start = match.start()
        return _failed("unclosed", tag=opened) if opened else _failed("missing", choices="answer")

    def write(self, turn: Turn) -> list[int]:
        """Not there: nobody but the policy knows what it knows.

        Raises:
            InputError: always; a cold start uses the renderer `tags`.
        """
        raise InputError("the renderer self-search cannot write demonstrations; start from a model that was trained with the renderer tags")

    def loss_mask(self, token_ids: Sequence[int]) -> list[bool]:
        """One entry per token of a turn: False between an opening information tag and its closing one, or the end."""
        mask = [True] * len(token_ids)
        begin: int | None = None
        for match in self._tag.finditer(self._codec.decode(token_ids)):
            if match[2] != "information":
                continue
            if not match[1]:
                begin = match.end()
            elif begin is not None:
                self._clear(mask, token_ids, begin, match.start())
                begin = None
        if begin is not None:
            self._clear(mask, token_ids, begin, None)
        return mask

    def _clear(self, mask: list[bool], token_ids: Sequence[int], begin: int, end: int | None) -> None:
        """Clear the tokens that lie inside of a range of characters."""

        def length(count: int) -> int:
            return len(self._codec.decode(token_ids[:count]))

        counts = range(len(token_ids) + 1)
        first = bisect_left(counts, begin, key=length)
        last = len(token_ids) if end is None else bisect_right(counts, end, key=length) - 1
        mask[first:last] = [False] * max(0, last - first)


def _failed(kind: str, **names: str) -> Turn:
    return Turn(error=ERRORS[kind].format(**names))
