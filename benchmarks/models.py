"""The models of the benchmarks: random weights, and a tokenizer in which every token is one word.

With one token per word a text of n words has n tokens for every library, so both sides of a comparison compute the same counts.
"""

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config

from spadework.models.presets import PRESETS, new_model

__all__ = ["CUTS", "new_policy", "word_tokenizer"]

EOS, PAD = 0, 1

SHAPES = {
    "h256": (
        4096,
        dict(hidden_size=256, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=8, head_dim=32, intermediate_size=704),
    ),
    "qwen3-0.6b": (
        151_936,
        dict(hidden_size=1024, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8, head_dim=128, intermediate_size=3072),
    ),
}
"""Vocabulary and shape of the models that are no preset: that of the GRPO step, and that of Qwen/Qwen3-0.6B."""

CUTS = (*PRESETS, *SHAPES)
"""Names that `new_policy` knows."""


def word_tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """Words w0, w1, ... as tokens 0, 1, ...; 0 ends a text and 1 is padding."""
    backend = Tokenizer(WordLevel({f"w{index}": index for index in range(vocab_size)}, unk_token=f"w{PAD}"))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=f"w{EOS}", pad_token=f"w{PAD}", padding_side="left")


def new_policy(name: str, *, layers: int | None = None, vocab_size: int = 2048, seed: int = 0) -> PreTrainedModel:
    """A model with random weights in float32.

    Args:
        name: one of `CUTS`.
        layers: cut the model to this many layers.
        vocab_size: of a preset; the other shapes have their own.
        seed: of the weights.
    """
    if name in PRESETS and layers is None:
        return new_model(name, vocab_size, eos_token_id=EOS, pad_token_id=PAD, seed=seed)
    vocab_size, shape = SHAPES[name] if name in SHAPES else (vocab_size, PRESETS[name].model_dump())
    config = Qwen3Config(
        vocab_size=vocab_size,
        tie_word_embeddings=True,
        eos_token_id=EOS,
        pad_token_id=PAD,
        max_position_embeddings=2048,
        **(shape | ({"num_hidden_layers": layers} if layers else {})),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
