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
        ("model.embed_tokens", 0.02),
        ("model.layers.0.self_attn.q_proj", 128**-0.5),
        ("model.layers.3.self_attn.o_proj", 0.5 * 128**-0.5),
        ("model.layers.1.mlp.up_proj", 128**-0.5),
        ("model.layers.1.mlp.down_proj", 0.5 * 352**-0.5),
    ):
        assert float(model.get_parameter(f"{name}.weight").detach().std()) == pytest.approx(scale, rel=0.05)
    assert bool((model.get_parameter("model.norm.weight") == 1).all())


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
