"""The schedule by hand, who is updated by what, and a state that comes back."""

import copy
import io

import pytest
import torch
from torch import nn

from spadework.core.errors import ConfigError
from spadework.training.optimizer import Optimizer, OptimizerConfig


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(7, 4)
        self.proj = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6, bias=False)
        self.lm_head = nn.Linear(6, 7, bias=False)
        self.frozen = nn.Linear(4, 4, bias=False).requires_grad_(False)


def make() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


def set_gradients(model: nn.Module, value: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = value * torch.randn(parameter.shape, generator=generator)


def test_the_schedule_by_hand() -> None:
    config = OptimizerConfig(warmup=0.2, decay=0.5, final=0.1)
    # Ten steps: rise over two, fall over the last five towards 0.1 of the peak: 0.1 + 0.9 * left / 5.
    expected = [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.82, 0.64, 0.46, 0.28]
    assert [config.scale(step, 10) for step in range(10)] == pytest.approx(expected)
    assert [OptimizerConfig(warmup=0, decay=0).scale(step, 5) for step in range(5)] == [1.0] * 5
    # Fewer steps than the warm-up is long: the first step already has the whole rate.
    assert OptimizerConfig(warmup=0.03, decay=0).scale(0, 10) == 1.0


def test_adamw_moves_by_the_rate_and_clips_by_the_norm() -> None:
    model = make()
    optimizer = Optimizer(model, OptimizerConfig(name="adamw", lr=0.01, max_grad_norm=1e9))
    before = copy.deepcopy(model.state_dict())
    set_gradients(model)
    norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    assert optimizer.step(0.5) == pytest.approx(float(norm), rel=1e-5)
    for name, value in model.state_dict().items():
        moved = (value - before[name]).abs()
        # Adam's first step is the rate times the sign of the gradient.
        assert moved.max() <= 0.005 + 1e-6
        assert moved.max() == pytest.approx(0.0 if name.startswith("frozen") else 0.005, rel=1e-3), name
    assert all(parameter.grad is None for parameter in model.parameters())


def test_muon_takes_hidden_matrices_only() -> None:
    def moved(**options: float) -> set[str]:
        model = make()
        before = copy.deepcopy(model.state_dict())
        optimizer = Optimizer(model, OptimizerConfig(**({"lr": 0.0, "muon_lr": 0.0} | options)))
        set_gradients(model)
        optimizer.step(1.0)
        return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}

    assert moved(muon_lr=0.1) == {"proj.weight"}
    assert moved(lr=0.1) == {"embed_tokens.weight", "proj.bias", "norm.weight", "lm_head.weight"}


def test_norms_of_queries_and_keys_have_a_rate_of_their_own() -> None:
    model = nn.ModuleDict({name: nn.RMSNorm(4) for name in ("q_norm", "k_norm", "input_layernorm")})
    before = copy.deepcopy(model.state_dict())
    set_gradients(model)
    Optimizer(model, OptimizerConfig(lr=0.01, qk_norm_lr=0.1)).step(0.5)
    # Adam's first step is the rate, here half of the peak.
    moved = {name: float((value - before[name]).abs().max()) for name, value in model.state_dict().items()}
    assert moved == pytest.approx({"q_norm.weight": 0.05, "k_norm.weight": 0.05, "input_layernorm.weight": 0.005}, rel=1e-3)


def test_muons_step_is_orthogonal_and_does_not_know_the_gradients_size() -> None:
    changes = []
    for size in (1.0, 1e-3):
        model = make()
        before = model.proj.weight.detach().clone()
        optimizer = Optimizer(model, OptimizerConfig(muon_lr=0.1, max_grad_norm=1e9))
        set_gradients(model, size)
        optimizer.step(1.0)
        changes.append((model.proj.weight - before).detach())
    torch.testing.assert_close(changes[0], changes[1], rtol=0.05, atol=1e-3)
    # [6, 4]: four singular values, all brought near 1, times the rate.
    singular = torch.linalg.svdvals(changes[0]) / changes[0].norm() * 2
    assert singular.min() > 0.6 and singular.max() < 1.4


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_saved_state_goes_on_bit_for_bit(name: str) -> None:
    config = OptimizerConfig.model_validate({"name": name})

    def advance(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
        for step in steps:
            set_gradients(model, 1.0 + step)
            optimizer.step(config.scale(step, 6))

    whole = make()
    advance(whole, Optimizer(whole, config), range(6))
    first = make()
    optimizer = Optimizer(first, config)
    advance(first, optimizer, range(3))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    second = copy.deepcopy(first)
    again = Optimizer(second, config)
    again.load_state_dict(torch.load(file, weights_only=True))
    advance(second, again, range(3, 6))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key


def test_a_rate_that_cannot_take_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match="muon_lr has no effect with adamw"):
        OptimizerConfig.parse({"name": "adamw", "muon_lr": 0.5}, source="recipe")
    # A resolved recipe names every key; its defaults are not refused.
    config = OptimizerConfig(name="adamw")
    assert OptimizerConfig.parse(config.model_dump(), source="recipe") == config
