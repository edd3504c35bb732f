"""Our forward pass gives transformers' numbers for every supported architecture, and refuses what it would get wrong."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, PretrainedConfig, PreTrainedModel, Qwen2Config, Qwen3Config
from transformers.models.qwen3_moe import Qwen3MoeConfig

from spadework.core.errors import InputError
from spadework.models.attention import PackedAttention
from spadework.models.checkpoint import parameters
from spadework.models.decoder import Rotary, check_supported, fuse, hidden_states, logits

Make = Callable[..., PreTrainedModel]
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
CASES: dict[str, Callable[[dict[str, Any]], PretrainedConfig]] = {
    "qwen3": lambda shape: Qwen3Config(**shape | {"num_key_value_heads": 4}, head_dim=8, tie_word_embeddings=True),
    "qwen3-gqa": lambda shape: Qwen3Config(**shape, head_dim=16, tie_word_embeddings=True),
    "qwen3-one-key-head": lambda shape: Qwen3Config(**shape | {"num_key_value_heads": 1}, head_dim=24, tie_word_embeddings=False),
    "qwen2": lambda shape: Qwen2Config(**shape, tie_word_embeddings=True),
    "llama": lambda shape: LlamaConfig(**shape, tie_word_embeddings=False, rms_norm_eps=1e-3),
    "llama-biases": lambda shape: LlamaConfig(**shape, attention_bias=True),
    "llama3-scaling": lambda shape: LlamaConfig(**shape, rope_parameters=LLAMA3, tie_word_embeddings=False),
    "linear-scaling": lambda shape: LlamaConfig(**shape, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}),
    "yarn": lambda shape: Qwen3Config(
        **shape,
        head_dim=16,
        rope_parameters={"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 64},
    ),
}


def ours(model: PreTrainedModel, token_ids: torch.Tensor, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    weights = fuse(model.config, parameters(model), dtype)
    attend = PackedAttention([(0, len(token_ids), None)])
    rotation = Rotary(model.config, torch.device("cpu"), dtype).at(attend.positions, attend.length)
    hidden = hidden_states(weights, token_ids, rotation, attend)
    return hidden, logits(weights, hidden)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_it_is_transformers_forward_pass(name: str, shape: dict[str, Any], make_decoder: Make) -> None:
    model = make_decoder(CASES[name](shape))
    token_ids = torch.randint(0, 97, (60,), generator=torch.Generator().manual_seed(1))
    expected = model(token_ids[None], output_hidden_states=True)
    hidden, scores = ours(model, token_ids)
    torch.testing.assert_close(hidden, expected.hidden_states[-1][0], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(scores, expected.logits[0], rtol=1e-4, atol=5e-5)


@torch.no_grad()
def test_bfloat16_is_close(decoder: PreTrainedModel) -> None:
    token_ids = torch.arange(40)
    _, exact = ours(decoder, token_ids)
    _, rough = ours(decoder, token_ids, torch.bfloat16)
    assert rough.dtype == torch.float32
    assert 1e-4 < (rough - exact).abs().mean() < 0.03


def test_gradients_reach_every_parameter_and_are_transformers(decoder: PreTrainedModel) -> None:
    token_ids = torch.randint(0, 97, (30,), generator=torch.Generator().manual_seed(2))
    weight = torch.randn(30, 97, generator=torch.Generator().manual_seed(3))

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        names, tensors = zip(*decoder.named_parameters(), strict=True)
        return dict(zip(names, torch.autograd.grad(loss, tensors), strict=True))

    mine = gradients((ours(decoder, token_ids)[1] * weight).sum())
    theirs = gradients((decoder(token_ids[None]).logits[0] * weight).sum())
    for name, gradient in theirs.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(mine[name], gradient, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()), msg=name)


def test_positions_beyond_the_table_grow_it(decoder: PreTrainedModel) -> None:
    rotary = Rotary(decoder.config, torch.device("cpu"), torch.float32)
    far = torch.tensor([3, 5000])
    cos, _ = rotary.at(far, 5001)
    fresh, _ = Rotary(decoder.config, torch.device("cpu"), torch.float32).at(far[:1], 4)
    assert torch.equal(cos[:1], fresh)
    # The first frequency is 1: the cosine of the position itself.
    assert cos[1, 0, 0] == pytest.approx(torch.tensor(5000.0).cos().item(), abs=1e-4)


def test_same_type_weights_are_not_copied(decoder: PreTrainedModel) -> None:
    weights = fuse(decoder.config, parameters(decoder), torch.float32)
    assert weights.head is weights.embedding
    assert weights.layers[0].down.data_ptr() == decoder.get_parameter("model.layers.0.mlp.down_proj.weight").data_ptr()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (GPT2Config(), "'gpt2' is not supported; supported: llama, qwen2, qwen3"),
        (Qwen3MoeConfig(), "'qwen3_moe' is not supported"),
        (Qwen2Config(use_sliding_window=True), "sliding-window"),
        (LlamaConfig(hidden_act="gelu"), "activation 'gelu'"),
        (LlamaConfig(mlp_bias=True), "biases in the MLP"),
        (LlamaConfig(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}), "rotary embedding 'dynamic'"),
        (Qwen3Config(quantization_config={"quant_method": "gptq", "bits": 4}), "quantised"),
    ],
    ids=lambda value: value.model_type if isinstance(value, PretrainedConfig) else "",
)
def test_what_it_would_get_wrong_is_refused(config: PretrainedConfig, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_supported(config)
