"""The written-out backward passes against autograd on the textbook formulas."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spadework.models import blocks, logprobs, steps
from spadework.models.blocks import mlp, norm, project
from spadework.models.decoder import DecoderWeights
from spadework.models.logprobs import token_logprobs

EPSILON = 1e-6


def plain_mlp(x: Tensor, norm: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    gate, up = F.linear(F.rms_norm(x, norm.shape, norm, EPSILON), gate_up).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, down)


def plain_project(
    x: Tensor,
    norm: Tensor,
    qkv: Tensor,
    bias: Tensor | None,
    qk_norm: Tensor | None,
    rotation: tuple[Tensor, Tensor],
    sizes: tuple[int, int, int],
) -> tuple[Tensor, ...]:
    num_q, num_k, size = sizes
    cos, sin = rotation
    qk, v = F.linear(F.rms_norm(x, norm.shape, norm, EPSILON), qkv, bias).view(len(x), -1, size).split([num_q + num_k, num_k], 1)
    if qk_norm is not None:
        qk = F.rms_norm(qk, (size,), None, EPSILON) * qk_norm
    first, second = qk.chunk(2, -1)
    qk = qk * cos + torch.cat([second, first], -1) * sin
    return (*qk.split([num_q, num_k], 1), v)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float32).requires_grad_()


def same_gradients(ours: Callable[[], tuple[Tensor, ...]], plain: Callable[[], tuple[Tensor, ...]], leaves: list[Tensor]) -> None:
    values = ours()
    torch.testing.assert_close(values, plain(), rtol=1e-4, atol=1e-4)
    upstream = [torch.randn_like(value) for value in values]
    expected = torch.autograd.grad(plain(), leaves, upstream)
    torch.testing.assert_close(torch.autograd.grad(ours(), leaves, upstream), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(autouse=True, params=[1, 2])
def small_slices(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In 300 rows, of which a slice has 128 at most: three slices for one thread, four for two."""
    monkeypatch.setattr(blocks, "SLICE_ELEMENTS", 1)
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["compiled", "torch"])
def formulas(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both forms of the elementwise steps; the second is what a GPU and bfloat16 get."""
    if request.param == "torch":
        monkeypatch.setattr(steps, "_is_compiled", lambda x: False)


@pytest.mark.parametrize(("threads", "lengths"), [(1, [100, 100, 100]), (2, [75, 75, 75, 75])])
def test_slices_are_equal_shares(threads: int, lengths: list[int]) -> None:
    torch.set_num_threads(threads)
    parts = blocks.slices(torch.empty(300, 1), 1)
    assert [part.stop - part.start for part in parts] == lengths
    assert torch.cat([torch.arange(300)[part] for part in parts]).tolist() == list(range(300))


@pytest.mark.usefixtures("formulas")
def test_norm_equals_autograd() -> None:
    leaves = [random(300, 12), random(12)]
    same_gradients(lambda: (norm(*leaves, EPSILON),), lambda: (F.rms_norm(leaves[0], (12,), leaves[1], EPSILON),), leaves)


@pytest.mark.usefixtures("formulas")
def test_softmax_and_swiglu_of_extreme_values() -> None:
    logits = torch.tensor([[0.0, -500.0, 3.0], [1e4, 1e4 - 1, -1e4]])
    expected = torch.tensor([[math.exp(-3), 0, 1], [1, math.exp(-1), 0]])
    largest, totals = torch.empty(2), torch.empty(2)
    torch.testing.assert_close(steps.softmax_parts(logits, largest, totals), expected, rtol=2e-6, atol=1e-30)
    torch.testing.assert_close((largest, totals), (torch.tensor([3.0, 1e4]), expected.sum(1)), rtol=2e-6, atol=0.0)
    # silu(1) = 1 / (1 + 1/e); far from 0 it is the gate or nothing.
    hidden = torch.tensor([[1.0, 200.0, -200.0, 2.0, 3.0, 5.0]])
    torch.testing.assert_close(steps.swiglu(hidden), torch.tensor([[2 / (1 + math.exp(-1)), 600.0, 0.0]]), rtol=2e-6, atol=1e-30)


def test_a_weight_that_is_no_number_is_not_hidden() -> None:
    logits = torch.full((1, 40), math.nan)
    assert steps.softmax_parts(logits, torch.empty(1), torch.empty(1)).isnan().all()
    assert steps.swiglu(torch.full((1, 40), math.nan)).isnan().all()


@pytest.mark.usefixtures("formulas")
def test_mlp_equals_autograd() -> None:
    leaves = [random(300, 12), random(12), random(40, 12), random(12, 20)]
    same_gradients(lambda: (mlp(*leaves, EPSILON),), lambda: (plain_mlp(*leaves),), leaves)


@pytest.mark.usefixtures("formulas")
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("normed", [False, True])
def test_projection_equals_autograd(biased: bool, normed: bool) -> None:
    sizes = (4, 2, 6)
    x, norm, qkv = random(300, 12), random(12), random(48, 12)
    bias, qk_norm = random(48) if biased else None, random(6, 6) if normed else None
    rotation = (torch.randn(300, 1, 6), torch.randn(300, 1, 6))
    same_gradients(
        lambda: project(x, norm, qkv, bias, qk_norm, rotation, EPSILON, sizes),
        lambda: plain_project(x, norm, qkv, bias, qk_norm, rotation, sizes),
        [leaf for leaf in (x, norm, qkv, bias, qk_norm) if leaf is not None],
    )


@pytest.mark.parametrize("kept_elements", [0, 1 << 26])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_log_probabilities_equal_autograd(temperature: float, kept_elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "KEPT_ELEMENTS", kept_elements)
    hidden, head, labels = random(300, 12), random(50, 12), torch.randint(0, 50, (300,))
    weights = DecoderWeights(head, [], head, head, 1, 1, 12, EPSILON)
    same_gradients(
        lambda: (token_logprobs(weights, hidden, labels, temperature=temperature, chunk_elements=50 * 128),),
        lambda: (F.linear(hidden, head).div(temperature or 1.0).log_softmax(-1).gather(1, labels[:, None])[:, 0],),
        [hidden, head],
    )


def test_many_rows_multiply_by_a_copy_of_the_matrix() -> None:
    # From 1024 rows on the matrices are copied the other way round.
    leaves = [random(1100, 4), random(4), random(6, 4), random(4, 3)]
    same_gradients(lambda: (mlp(*leaves, EPSILON),), lambda: (plain_mlp(*leaves),), leaves)


def test_frozen_matrices_get_no_gradient() -> None:
    x, norm, gate_up, down = random(5, 12), random(12), random(40, 12).detach(), random(12, 20).detach()
    (expected,) = torch.autograd.grad(plain_mlp(x, norm, gate_up, down).square().sum(), [x])
    mlp(x, norm, gate_up, down, EPSILON).square().sum().backward()
    torch.testing.assert_close(x.grad, expected, rtol=1e-5, atol=1e-5)
    assert gate_up.grad is None and down.grad is None


def test_bfloat16_stays_near_float32() -> None:
    leaves = [random(300, 16), random(16), random(48, 16), random(16, 24)]
    low = [leaf.detach().bfloat16().requires_grad_() for leaf in leaves]
    exact = torch.autograd.grad(plain_mlp(*[leaf.float() for leaf in low]).sum(), low)
    for ours, wanted in zip(torch.autograd.grad(mlp(*low, EPSILON).sum(), low), exact, strict=True):
        assert ours.dtype == torch.bfloat16
        assert (ours.float() - wanted.float()).norm() < 0.02 * wanted.float().norm()
