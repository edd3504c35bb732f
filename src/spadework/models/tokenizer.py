"""A byte-level BPE tokenizer trained on the spot, for policies that start from nothing.

The pre-tokenizer is Qwen's regex and there is no normaliser, so decoding gives back exactly what was encoded. The tags that agents write
are single added tokens. Words of a lexicon are single tokens with their leading space, at one vocabulary entry each: they stand in the
vocabulary without the merges that would build them (`ignore_merges`: a pre-token that is in the vocabulary is taken whole), and the merges
are learned from the rest of the text. A policy of a million parameters has no embeddings to spare for the parts of words.

Not done here: SentencePiece or WordPiece vocabularies; load those with their checkpoint.
"""

import json
import re
from collections.abc import Iterable, Iterator

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from spadework.core.errors import InputError

__all__ = ["CHAT_TEMPLATE", "CONTROL_TOKENS", "QWEN_SPLIT", "TAG_TOKENS", "single_token_share", "train_tokenizer"]

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Padding, the opening of a message, and its end."""

TAG_TOKENS = tuple(
    f"<{slash}{tag}>" for tag in ("think", "search", "read", "information", "answer", "tool_call", "tool_response") for slash in ("", "/")
)
"""Tags of the renderers, as single tokens."""

QWEN_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""The pre-tokenizer regex of Qwen's released `tokenizer.json` files: digits one by one, a word with the one space before it."""

CHAT_TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\n\
You are provided with function signatures within <tools></tools> XML tags:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML \
tags:\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '<|im_start|>user\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if message.reasoning_content %}
            {{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- message.content or '' }}
        {%- for tool_call in message.tool_calls or [] %}
            {%- if not loop.first or message.content %}
                {{- '\\n' }}
            {%- endif %}
            {%- set call = tool_call.function or tool_call %}
            {{- '<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
            {{- call.arguments if call.arguments is string else call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
"""ChatML with tools in the layout of Qwen3's template, except that every `<think>` block is kept: dropping one would change a prefix."""

_ALPHABET = 256


def train_tokenizer(
    texts: Iterable[str], *, vocab_size: int, words: Iterable[str] = (), tags: Iterable[str] = TAG_TOKENS
) -> PreTrainedTokenizerFast:
    """Train a tokenizer. The same arguments give the same tokenizer.

    Args:
        texts: what the merges are learned from.
        vocab_size: at most this many tokens; fewer when the texts have no further pair that occurs twice.
        words: words or phrases whose every pre-token becomes one token: "Velor Tash" gives " Velor" and " Tash". Numbers stay digits.
        tags: added tokens besides `CONTROL_TOKENS`.

    Raises:
        InputError: the words alone do not fit into the vocabulary.
    """
    added = [*CONTROL_TOKENS, *tags]
    whole_words = {word for word in words if word.strip()}
    pre_tokenizer = _pre_tokenizer()
    whole = {piece for word in whole_words for piece, _ in pre_tokenizer.pre_tokenize_str(" " + word.strip()) if len(piece) > 1}
    room = vocab_size - len(added)
    if _ALPHABET + len(whole) > room:
        needed = _ALPHABET + len(whole) + len(added)
        raise InputError(f"vocab_size {vocab_size} is too small: {len(whole)} words, {len(added)} tags and the bytes need {needed}")

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=room, min_frequency=2, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    trained.train_from_iterator(_without(texts, whole_words), trainer)
    model = json.loads(trained.to_str())["model"]

    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    missing = whole.difference(pieces)
    while len(pieces) + len(missing) > room:
        last = pieces.pop()
        if last in whole:
            missing.add(last)
    vocab = {piece: index for index, piece in enumerate([*pieces, *sorted(missing)])}
    kept = set(pieces)
    merges = [(left, right) for left, right in model["merges"] if left + right in kept]

    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizer
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens([AddedToken(token, normalized=False, special=token in CONTROL_TOKENS) for token in added])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        extra_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def single_token_share(tokenizer: PreTrainedTokenizerFast, words: Iterable[str]) -> float:
    """Share of the words that are one token with their leading space; 1.0 for no words."""
    backend = tokenizer.backend_tokenizer
    lengths = [len(backend.encode(" " + word, add_special_tokens=False).ids) for word in words]
    return sum(length == 1 for length in lengths) / len(lengths) if lengths else 1.0


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _without(texts: Iterable[str], words: set[str]) -> Iterator[str]:
    """The texts without the words that are whole anyway, so that no merge is spent on them."""
    parts = {part for word in words for part in word.split()}
    for text in texts:
        yield re.sub(r" ?\b(\w+)\b", lambda match: "" if match[1] in parts else match[0], text)
