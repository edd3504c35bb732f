"""Three vocabularies: one trained here with tags as tokens, Qwen's, and a small foreign one that has some of the tags and drops spaces."""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config

from spadework.models.tokenizer import CHAT_TEMPLATE, QWEN_SPLIT, train_tokenizer

WORDS = ("Velor", "Tash", "Ondal", "Brin", "Marrow")
TEXTS = [
    "Velor Tash is the mayor of Ondal Brin.\nOndal Brin mayor Velor Tash\nWhat is the mayor of the river of Brin Marrow? It was 1984.\n"
] * 3

QWEN_CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
QWEN_TAGS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")


@pytest.fixture(scope="session")
def trained() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, vocab_size=400, words=WORDS)


@pytest.fixture(scope="session")
def qwen_ranks(data_dir: Path) -> dict[bytes, int]:
    lines = (data_dir / "tokenizers" / "qwen.tiktoken").read_bytes().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}


@pytest.fixture(scope="session")
def qwen(qwen_ranks: dict[bytes, int]) -> PreTrainedTokenizerFast:
    """Qwen3's vocabulary, with the added tokens that renderers know.

    A merge of Hugging Face names the two halves, a rank of tiktoken only the result. Any two neighbours whose concatenation has a rank
    may merge, the lowest rank first; so all ways to cut a token are listed, in the order of their result's rank.
    """
    # GPT-2's printable stand-ins for bytes: themselves where printable, the others from 256 on.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    stand_in = {byte: chr(byte) for byte in printable} | {byte: chr(256 + index) for index, byte in enumerate(others)}
    shown = {token: "".join(map(stand_in.__getitem__, token)) for token in qwen_ranks}
    merges = [
        (shown[token[:cut]], shown[token[cut:]])
        for token in qwen_ranks
        for cut in range(1, len(token))
        if token[:cut] in shown and token[cut:] in shown
    ]
    vocab = {shown[token]: rank for token, rank in qwen_ranks.items()}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens([AddedToken(token, normalized=False, special=token in QWEN_CONTROL) for token in QWEN_CONTROL + QWEN_TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        extra_special_tokens=["<|im_start|>"],
    )


@pytest.fixture(scope="session")
def tiny(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    folder = tmp_path_factory.mktemp("tiny")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(data_dir / "tokenizers" / f"tiny_{name}", folder / name)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _decoder(config: PretrainedConfig, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 2:
                parameter.copy_(noise * parameter.shape[1] ** -0.5)
            else:
                parameter.copy_(0.3 * noise + (0 if name.endswith("bias") else 1))
    return model


@pytest.fixture(scope="session")
def make_decoder() -> Callable[..., PreTrainedModel]:
    """A tiny model of any supported architecture, with norms and biases that are not at their neutral start."""
    return _decoder


SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
}


@pytest.fixture(scope="session")
def shape() -> dict[str, Any]:
    return dict(SHAPE)


@pytest.fixture(scope="session")
def decoder() -> PreTrainedModel:
    """Qwen3 with two query heads per key head."""
    return _decoder(Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=True))
