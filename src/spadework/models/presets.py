"""Tiny models with random weights: the Qwen3 architecture at 1 to 10 million parameters.

Matrices start with standard deviation 1 / sqrt(fan-in), half of that where they write to the residual stream, and embeddings with 0.02. The
usual 0.02 everywhere is right for a width of thousands and starves a width of 128: after 1 M tokens the loss was 2.08 against 0.47.
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
        hidden_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4, head_dim=32, intermediate_size=352
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
        _initialise(model)
    return model.eval()


def _initialise(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if parameter.dim() != 2:
            continue
        scale = 0.02 if "embed_tokens" in name else parameter.shape[1] ** -0.5
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            scale *= 0.5
        nn.init.normal_(parameter, 0.0, scale)
