"""Tiny models with random weights: the Qwen3 architecture at 1 to 10 million parameters.

Three choices make them learn to copy from their context within minutes (docs/training.md has the figures):

- Matrices start with standard deviation 1 / sqrt(fan-in), half of that where they write to the residual stream. The usual 0.02 is right for
  a width of thousands and starves a width of 128.
- All embeddings share a random direction. Qwen3 has no biases, so attention by position alone ("the token before") needs something that
  every token has; the logits are unchanged, because a softmax ignores what all of them share.
- The output matrix of attention starts as the transpose of the value matrix, so that a head that attends to a token writes something like
  that token (mimetic initialisation, arXiv 2305.09828).
"""

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen3Config

from spadework.core.config import Config
from spadework.core.errors import ConfigError

__all__ = ["PRESETS", "TinyConfig", "new_model"]


class TinyConfig(Config):
    """Shape of a tiny decoder."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    max_position_embeddings: int = 2048


PRESETS = {
    "tiny-1m": TinyConfig(
        hidden_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=64, intermediate_size=352
    ),
    "tiny-3m": TinyConfig(
        hidden_size=192, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=6, head_dim=32, intermediate_size=512
    ),
    "tiny-10m": TinyConfig(
        hidden_size=320, num_hidden_layers=8, num_attention_heads=10, num_key_value_heads=5, head_dim=32, intermediate_size=864
    ),
}


def new_model(preset: str, vocab_size: int, *, eos_token_id: int, pad_token_id: int, seed: int) -> PreTrainedModel:
    """A model with random weights in float32.

    Raises:
        ConfigError: the preset is unknown.
    """
    if preset not in PRESETS:
        raise ConfigError(f"unknown model preset '{preset}'; presets: {', '.join(PRESETS)}")
    config = Qwen3Config(
        vocab_size=vocab_size,
        tie_word_embeddings=True,
        eos_token_id=eos_token_id,
        pad_token_id=pad_token_id,
        **PRESETS[preset].model_dump(),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            _initialise(model)
    return model.eval()


def _initialise(model: PreTrainedModel) -> None:
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "embed_tokens" not in name:
            scale = 0.5 if name.endswith("down_proj.weight") else 1.0
            nn.init.normal_(parameter, 0.0, scale * parameter.shape[1] ** -0.5)
    embedding = model.get_input_embeddings().weight
    nn.init.normal_(embedding, 0.0, 0.2).add_(0.2 * torch.randn(embedding.shape[1]))
    heads, kv_heads = model.config.num_attention_heads, model.config.num_key_value_heads
    for layer in model.model.layers:
        value = layer.self_attn.v_proj.weight
        # Each value head once for every query head that reads it; half of an identity in expectation.
        per_head = value.view(kv_heads, -1, value.shape[1]).repeat_interleave(heads // kv_heads, 0)
        layer.self_attn.o_proj.weight.copy_(per_head.flatten(0, 1).T * (0.5 * value.shape[1] / per_head.flatten(0, 1).shape[0]))
