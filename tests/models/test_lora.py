"""Adapters: merged they are PEFT's own forward pass; only they learn; what is saved is PEFT's layout."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from spadework.models.attention import PackedAttention
from spadework.models.checkpoint import load_model, parameters, save_checkpoint
from spadework.models.decoder import Rotary, fuse, hidden_states, logits
from spadework.models.lora import add_adapters
from spadework.models.presets import new_model

peft = pytest.importorskip("peft")
# PEFT asks transformers by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
TOKENS = torch.arange(5, 35)


@pytest.fixture
def base(trained: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    save_checkpoint(new_model("tiny-1m", len(trained), eos_token_id=2, pad_token_id=0, seed=3), trained, tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapted(base: Path) -> PreTrainedModel:
    model = add_adapters(load_model(base), 4, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def ours(model: PreTrainedModel) -> torch.Tensor:
    weights = fuse(model.config, parameters(model), torch.float32)
    attend = PackedAttention([(0, len(TOKENS), None)])
    rotation = Rotary(model.config, torch.device("cpu"), torch.float32).at(attend.positions, attend.length)
    return logits(weights, hidden_states(weights, TOKENS, rotation, attend))


def test_merged_it_is_pefts_forward_pass_and_gradient(adapted: PreTrainedModel) -> None:
    mine, theirs = ours(adapted), adapted(TOKENS[None]).logits[0]
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    weight = torch.randn(mine.shape, generator=torch.Generator().manual_seed(0))
    learning = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    gradients = [torch.autograd.grad((output * weight).sum(), learning) for output in (mine, theirs)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))


def test_only_adapters_learn_and_all_matrices_have_one(adapted: PreTrainedModel) -> None:
    ours(adapted).sum().backward()
    learning = {name for name, parameter in adapted.named_parameters() if parameter.grad is not None}
    assert learning == {name for name, _ in adapted.named_parameters() if ".lora_" in name}
    # Seven matrices per layer, two adapters each.
    assert len(learning) == 4 * 7 * 2


def test_the_names_are_those_of_the_model_without_adapters(adapted: PreTrainedModel, base: Path) -> None:
    plain = dict(load_model(base).named_parameters())
    assert set(parameters(adapted)) == set(plain)
    fresh = add_adapters(load_model(base), 4, seed=1)
    for name, tensor in parameters(fresh).items():
        assert torch.equal(tensor, plain[name]), "a new adapter changes nothing"


def test_the_seed_decides(base: Path) -> None:
    first, same, other = (dict(add_adapters(load_model(base), 4, seed=seed).named_parameters()) for seed in (1, 1, 2))
    for name in first:
        assert torch.equal(first[name], same[name])
        assert torch.equal(first[name], other[name]) == (".lora_A." not in name)


def test_a_saved_adapter_is_pefts_and_comes_back(
    adapted: PreTrainedModel, base: Path, trained: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    save_checkpoint(adapted, trained, folder)
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 4
    assert not (folder / "model.safetensors").exists(), "the base model is not written again"
    with torch.no_grad():
        expected = adapted(TOKENS[None]).logits[0]
        theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), folder)
        torch.testing.assert_close(theirs(TOKENS[None]).logits[0], expected)
        torch.testing.assert_close(ours(load_model(folder)), expected, rtol=1e-4, atol=1e-4)
