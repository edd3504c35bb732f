import random
import unicodedata
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from spadework.core.errors import InputError
from spadework.models.tokenizer import CONTROL_TOKENS, QWEN_SPLIT, TAG_TOKENS, single_token_share, train_tokenizer

WORDS = ("Velor", "Tash", "Ondal", "Brin", "Marrow")
VARIED = [
    "Plain English, with punctuation; and it's they're WE'LL contractions.",
    "  leading spaces,\ttabs\t\tand \r\n windows\r\n\r\nlines   \n",
    "Zahlen 3.14159, 2024-02-29, ½ ² Ⅷ ١٢٣",
    "日本語の文章と中文文本。한국어 텍스트。",
    "Ünïcödé é (decomposed), ZWJ 👩‍👩‍👧‍👦, flags 🇨🇭, rtl שלום عليكم",
    "def f(x):\n    return {'a': [x ** 2 for _ in range(10)]}  # code\n",
    "<|im_end|> <think>tags</think> as text",
    "\u0000\u200b\ufeff\U0010ffff",
]


def test_words_are_single_tokens_and_cost_one_entry_each(trained: PreTrainedTokenizerFast) -> None:
    assert single_token_share(trained, WORDS) == 1.0
    assert single_token_share(trained, ["Velor", "Velory"]) == 0.5
    assert single_token_share(trained, []) == 1.0
    # Only the bytes, the words and the added tokens: the words' parts are no entries of their own.
    bare = train_tokenizer([], vocab_size=1000, words=WORDS)
    assert len(bare) == 256 + len(WORDS) + len(CONTROL_TOKENS) + len(TAG_TOKENS)
    assert bare.tokenize(" Velor Tash") == ["ĠVelor", "ĠTash"]


def test_a_phrase_gives_its_words(trained: PreTrainedTokenizerFast) -> None:
    tokenizer = train_tokenizer([], vocab_size=400, words=["Velor Tash", "Brin-Lund"])
    assert tokenizer.tokenize(" Velor Tash Brin-Lund 42") == ["ĠVelor", "ĠTash", "ĠBrin", "-Lund", "Ġ", "4", "2"]


def test_tags_are_single_tokens_and_unambiguous(trained: PreTrainedTokenizerFast) -> None:
    assert trained.tokenize("<answer> Velor Tash</answer>") == ["<answer>", "ĠVelor", "ĠTash", "</answer>"]
    ids = [trained.convert_tokens_to_ids(token) for token in CONTROL_TOKENS + TAG_TOKENS]
    assert sorted(ids) == list(range(len(trained) - len(ids), len(trained)))
    assert (trained.pad_token, trained.eos_token) == ("<|endoftext|>", "<|im_end|>")


def test_merges_are_learned_from_the_rest(trained: PreTrainedTokenizerFast) -> None:
    assert trained.tokenize(" mayor of") == ["Ġmayor", "Ġof"]
    assert len(trained) <= 400


def test_the_same_arguments_give_the_same_tokenizer(trained: PreTrainedTokenizerFast) -> None:
    texts = ["Velor Tash is the mayor of Ondal Brin, Marrow said. " * 3, "The mayor of the river said so."]
    first, second = (train_tokenizer(iter(texts), vocab_size=330, words=words) for words in (WORDS, set(reversed(WORDS))))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()


def test_a_vocabulary_that_is_too_small_is_refused() -> None:
    # 256 bytes, 5 words, 17 added tokens
    assert len(CONTROL_TOKENS + TAG_TOKENS) == 17
    assert len(train_tokenizer(["the mayor of the river"], vocab_size=278, words=WORDS)) == 278
    with pytest.raises(InputError, match="vocab_size 277 is too small: 5 words, 17 tags and the bytes need 278"):
        train_tokenizer([], vocab_size=277, words=WORDS)


def test_a_full_vocabulary_drops_the_last_merges_and_keeps_the_words() -> None:
    # Five merges build " Ondal" for its two longer forms, two more those. There is room for eight entries beside the bytes and the tags:
    # with " Ondal" merged they would be the 4 merges below it, itself and 4 words; so it goes, a merge more goes, and 3 + 5 stay.
    tokenizer = train_tokenizer([" Ondals Ondalx"] * 4, vocab_size=281, words=WORDS)
    assert len(tokenizer) == 281
    assert single_token_share(tokenizer, WORDS) == 1.0
    assert "ĠOndals" not in tokenizer.get_vocab()


def test_no_merge_is_spent_on_words() -> None:
    assert len(train_tokenizer(["Velor Tash\nOndal of Brin, Velor"] * 9, vocab_size=400, words=WORDS)) == 278 + len(["Ġo", "Ġof"])


@given(st.text())
def test_decoding_is_lossless(trained: PreTrainedTokenizerFast, text: str) -> None:
    assert trained.backend_tokenizer.decode(trained.backend_tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_a_checkpoint_folder_gives_the_tokenizer_back(trained: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    trained.save_pretrained(tmp_path)
    # In a Qwen3 checkpoint, transformers could take its own Qwen class, which would rebuild the vocabulary without `ignore_merges`.
    (tmp_path / "config.json").write_text('{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}')
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.backend_tokenizer.to_str() == trained.backend_tokenizer.to_str()
    assert loaded.chat_template == trained.chat_template
    assert (loaded.pad_token_id, loaded.eos_token_id) == (trained.pad_token_id, trained.eos_token_id)


def test_the_chat_template_renders_calls_and_results(trained: PreTrainedTokenizerFast) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who?"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "Look.",
            "tool_calls": [{"type": "function", "function": {"name": "search", "arguments": {"query": "Véla"}}}],
        },
        {"role": "tool", "content": "one"},
        {"role": "tool", "content": "two"},
    ]
    assert trained.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\nLook.\n</think>\n\n"
        '<tool_call>\n{"name": "search", "arguments": {"query": "Véla"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


def test_qwens_vocabulary_agrees_with_tiktoken(qwen: PreTrainedTokenizerFast, qwen_ranks: dict[bytes, int]) -> None:
    reference = tiktoken.Encoding("qwen", pat_str=QWEN_SPLIT, mergeable_ranks=qwen_ranks, special_tokens={})
    letters = [chr(code) for code in range(0x3000) if unicodedata.category(chr(code)) not in ("Cs", "Cn")]
    source = random.Random(0)
    noise = ["".join(source.choices(letters, k=200)) for _ in range(100)]
    words = ["".join(source.choices("etaoinshrdlu ", k=300)) for _ in range(100)]
    plain = qwen.backend_tokenizer
    plain.encode_special_tokens = True
    try:
        for text in [*VARIED[:6], VARIED[7], *noise, *words]:
            assert plain.encode(text, add_special_tokens=False).ids == reference.encode(text, disallowed_special=())
    finally:
        plain.encode_special_tokens = False
