"""Tiny models: their sizes, their start, their seeds."""

import pytest
import torch

from spadework.core.errors import ConfigError
from spadework.models.decoder import check_supported
from spadework.models.presets import PRESETS, new_model


def test_sizes_are_what_the_names_say() -> None:
    for name, millions in (("tiny-1m", (0.8, 1.3)), ("tiny-3m", (2.5, 3.5)), ("tiny-10m", (8, 11))):
        model = new_model(name, 1500, eos_token_id=2, pad_token_id=0, seed=0)
        low, high = millions
        assert low <= sum(parameter.numel() for parameter in model.parameters()) / 1e6 <= high
        check_supported(model.config)
        assert (model.config.eos_token_id, model.config.pad_token_id, model.config.vocab_size) == (2, 0, 1500)
    assert set(PRESETS) == {"tiny-1m", "tiny-3m", "tiny-10m"}


def test_matrices_start_by_fan_in() -> None:
    model = new_model("tiny-1m", 1000, eos_token_id=2, pad_token_id=0, seed=0)
    for name, scale in (
        ("model.layers.0.self_attn.q_proj", 128**-0.5),
        ("model.layers.3.self_attn.v_proj", 128**-0.5),
        ("model.layers.1.mlp.up_proj", 128**-0.5),
        ("model.layers.1.mlp.down_proj", 0.5 * 352**-0.5),
    ):
        assert float(model.get_parameter(f"{name}.weight").detach().std()) == pytest.approx(scale, rel=0.05)
    assert bool((model.get_parameter("model.norm.weight") == 1).all())


def test_the_smallest_has_wide_heads_that_share_keys() -> None:
    config = new_model("tiny-1m", 300, eos_token_id=2, pad_token_id=0, seed=0).config
    assert (config.head_dim, config.num_attention_heads, config.num_key_value_heads) == (64, 4, 2)


def test_embeddings_share_a_direction() -> None:
    rows = new_model("tiny-1m", 1000, eos_token_id=2, pad_token_id=0, seed=0).get_input_embeddings().weight.detach()
    # What a token has of its own and what all share have standard deviation 0.2 each: the cosine of two tokens is near 1/2.
    shared = rows.mean(0)
    assert float((rows - shared).std()) == pytest.approx(0.2, rel=0.05)
    assert float(shared.std()) == pytest.approx(0.2, rel=0.2)
    assert float(torch.cosine_similarity(rows[:500], rows[500:]).mean()) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("preset", ["tiny-1m", "tiny-10m"])
def test_the_output_matrix_writes_back_what_values_have_read(preset: str) -> None:
    model = new_model(preset, 300, eos_token_id=2, pad_token_id=0, seed=0)
    heads, kv_heads, width = model.config.num_attention_heads, model.config.num_key_value_heads, PRESETS[preset].head_dim
    for layer in model.model.layers:
        value, output = layer.self_attn.v_proj.weight.detach(), layer.self_attn.o_proj.weight.detach()
        scale = 0.5 * value.shape[1] / (heads * width)
        for head in range(heads):
            # transformers lets query head h read key-value head h // (heads / kv_heads).
            first = head // (heads // kv_heads) * width
            torch.testing.assert_close(output[:, head * width : (head + 1) * width], scale * value[first : first + width].T)
        # All heads attend to the same token: half of it is written, and noise.
        written = output @ value.view(kv_heads, width, -1).repeat_interleave(heads // kv_heads, 0).flatten(0, 1)
        assert float(written.diagonal().mean()) == pytest.approx(0.5, rel=0.05)


def test_the_seed_decides_and_nothing_else() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = new_model("tiny-1m", 300, eos_token_id=2, pad_token_id=0, seed=7)
    assert torch.equal(torch.get_rng_state(), before), "the global stream is left alone"
    torch.manual_seed(2)
    same = new_model("tiny-1m", 300, eos_token_id=2, pad_token_id=0, seed=7)
    other = new_model("tiny-1m", 300, eos_token_id=2, pad_token_id=0, seed=8)
    for (name, a), b, c in zip(first.named_parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.dim() == 1 or not torch.equal(a, c), name


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown model preset 'huge'; presets: tiny-1m"):
        new_model("huge", 300, eos_token_id=2, pad_token_id=0, seed=0)
