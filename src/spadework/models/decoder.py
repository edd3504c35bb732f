"""The forward pass of Llama-family decoders (Llama, Qwen2, Qwen2.5, Qwen3) as plain functions on named parameters.

A Hugging Face model is the container and the exchange format; this file is how it is computed, for training and for sampling alike, so that
both sides agree by construction. `fuse` turns parameters by their Hugging Face names into the few matrices that are really multiplied
(query, key and value in one; gate and up in one) in the compute type, differentiably. `hidden_states` runs flat tokens [N] through the
layers and leaves attention to the caller's `attend`: block attention over a packed forest when training (`attention.py`), a KV cache when
sampling.

Shapes: N tokens, D hidden size, H query heads, K key-value heads, E head size, V vocabulary. Not done here: sliding windows, mixture of
experts and rotary variants that depend on the sequence length; such a checkpoint is refused when it is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PretrainedConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from spadework.core.errors import InputError
from spadework.models.blocks import mlp, norm, project

__all__ = ["Attend", "DecoderWeights", "LayerWeights", "Rotary", "check_supported", "fuse", "hidden_states", "logits"]

SUPPORTED = ("llama", "qwen2", "qwen3")


class Attend(Protocol):
    """Attention over whatever the caller keeps."""

    def __call__(self, layer: int, q_NHE: Tensor, k_NKE: Tensor, v_NKE: Tensor, /) -> Tensor:
        """Mix the values: [N, H * E]. Queries and keys already carry their positions."""
        ...


@dataclass(slots=True)
class LayerWeights:
    """The matrices of one layer in the compute type."""

    input_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    qk_norm: Tensor | None
    """[H + K, E]: Qwen3's per-head norms of queries and keys, stacked."""
    output: Tensor
    output_bias: Tensor | None
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(slots=True)
class DecoderWeights:
    """All matrices of a decoder in the compute type."""

    embedding: Tensor
    layers: list[LayerWeights]
    norm: Tensor
    head: Tensor
    num_heads: int
    num_kv_heads: int
    head_dim: int
    epsilon: float


def check_supported(config: PretrainedConfig) -> None:
    """Refuse checkpoints whose mathematics this file does not implement.

    Raises:
        InputError: another architecture, or an option that would change the result silently.
    """
    kind = config.model_type
    if kind not in SUPPORTED:
        raise InputError(f"architecture '{kind}' is not supported; supported: {', '.join(SUPPORTED)}")
    if getattr(config, "quantization_config", None) is not None:
        raise InputError("quantised checkpoints are not supported; use the unquantised model")
    if getattr(config, "use_sliding_window", False):
        raise InputError(f"'{kind}' with sliding-window attention is not supported; set use_sliding_window to false in its config.json")
    if config.hidden_act != "silu":
        raise InputError(f"activation '{config.hidden_act}' is not supported; only silu is")
    if getattr(config, "mlp_bias", False):
        raise InputError("biases in the MLP are not supported")
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope in ("dynamic", "longrope"):
        raise InputError(f"rotary embedding '{rope}' depends on the sequence length and is not supported")


def fuse(config: PretrainedConfig, parameters: Mapping[str, Tensor], dtype: torch.dtype) -> DecoderWeights:
    """Collect the parameters of a Hugging Face model into the matrices that are multiplied.

    Differentiable: gradients flow back to the parameters. With dtype equal to the parameters' type single matrices are not copied.

    Args:
        config: the model's configuration.
        parameters: parameters by their Hugging Face names.
        dtype: compute type.
    """

    def get(name: str) -> Tensor:
        return parameters[name].to(dtype)

    def stack(prefix: str, names: tuple[str, ...], suffix: str) -> Tensor:
        return torch.cat([parameters[f"{prefix}.{name}.{suffix}"] for name in names]).to(dtype)

    heads, kv_heads, head_dim = config.num_attention_heads, config.num_key_value_heads, _head_dim(config)
    layers = []
    for index in range(config.num_hidden_layers):
        prefix = f"model.layers.{index}"
        attention = f"{prefix}.self_attn"
        qk_norm = None
        if f"{attention}.q_norm.weight" in parameters:
            q_norm, k_norm = parameters[f"{attention}.q_norm.weight"], parameters[f"{attention}.k_norm.weight"]
            qk_norm = torch.cat([q_norm.expand(heads, head_dim), k_norm.expand(kv_heads, head_dim)]).to(dtype)
        biased = f"{attention}.q_proj.bias" in parameters
        output_bias = f"{attention}.o_proj.bias"
        layers.append(
            LayerWeights(
                input_norm=get(f"{prefix}.input_layernorm.weight"),
                qkv=stack(attention, ("q_proj", "k_proj", "v_proj"), "weight"),
                qkv_bias=stack(attention, ("q_proj", "k_proj", "v_proj"), "bias") if biased else None,
                qk_norm=qk_norm,
                output=get(f"{attention}.o_proj.weight"),
                output_bias=get(output_bias) if output_bias in parameters else None,
                mlp_norm=get(f"{prefix}.post_attention_layernorm.weight"),
                gate_up=stack(f"{prefix}.mlp", ("gate_proj", "up_proj"), "weight"),
                down=get(f"{prefix}.mlp.down_proj.weight"),
            )
        )
    embedding = get("model.embed_tokens.weight")
    head = embedding if config.tie_word_embeddings else get("lm_head.weight")
    norm = get("model.norm.weight")
    return DecoderWeights(embedding, layers, norm, head, heads, kv_heads, head_dim, config.rms_norm_eps)


def _head_dim(config: PretrainedConfig) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


class Rotary:
    """Cosines and signed sines of rotary positions, precomputed and grown on demand.

    With the halves swapped by a roll, rotation is x * cos + roll(x, E/2) * sin, where the first half of sin is negated.
    """

    def __init__(self, config: PretrainedConfig, device: torch.device, dtype: torch.dtype) -> None:
        """Take the frequencies, with any scaling, from the model's configuration."""
        self._embedding = LlamaRotaryEmbedding(config).to(device)
        self._dtype = dtype
        self._grow(1024)

    def _grow(self, length: int) -> None:
        angles = torch.outer(
            torch.arange(length, dtype=torch.float32, device=self._embedding.inv_freq.device), self._embedding.inv_freq.float()
        )
        scale = self._embedding.attention_scaling
        cos, sin = angles.cos() * scale, angles.sin() * scale
        self._cos = torch.cat([cos, cos], -1).to(self._dtype)
        self._sin = torch.cat([-sin, sin], -1).to(self._dtype)

    def at(self, positions_N: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines [N, 1, E] at positions, all below `length`."""
        cos, sin = self.tables(length)
        return cos[positions_N].unsqueeze(1), sin[positions_N].unsqueeze(1)

    def tables(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines [L, E] of all positions; L is at least `length`."""
        if length > len(self._cos):
            self._grow(max(length, 2 * len(self._cos)))
        return self._cos, self._sin


def hidden_states(weights: DecoderWeights, token_ids_N: Tensor, rotation: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
    """Final hidden states [N, D], after the last norm.

    Args:
        weights: fused matrices.
        token_ids_N: flat tokens of any number of sequences.
        rotation: `Rotary.at` of their positions.
        attend: attention over the packed sequences or the cache.
    """
    sizes, epsilon = (weights.num_heads, weights.num_kv_heads, weights.head_dim), weights.epsilon
    x = F.embedding(token_ids_N, weights.embedding)
    for index, layer in enumerate(weights.layers):
        q, k, v = project(x, layer.input_norm, layer.qkv, layer.qkv_bias, layer.qk_norm, rotation, epsilon, sizes)
        x = torch.addmm(x if layer.output_bias is None else x + layer.output_bias, attend(index, q, k, v), layer.output.t())
        x = mlp(x, layer.mlp_norm, layer.gate_up, layer.down, epsilon)
    return norm(x, weights.norm, epsilon)


def logits(weights: DecoderWeights, hidden_ND: Tensor) -> Tensor:
    """Logits [N, V] in float32."""
    return F.linear(hidden_ND, weights.head).float()
