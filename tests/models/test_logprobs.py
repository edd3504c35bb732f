"""Log-probabilities of labels: the plain formula, whatever the slices; gradients and temperature."""

import pytest
import torch

from spadework.models.decoder import DecoderWeights
from spadework.models.logprobs import token_entropies, token_logprobs


def problem(targets: int = 23, width: int = 8, vocabulary: int = 61) -> tuple[DecoderWeights, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    head = torch.randn(vocabulary, width, generator=generator, requires_grad=True)
    hidden = torch.randn(targets, width, generator=generator, requires_grad=True)
    labels = torch.randint(0, vocabulary, (targets,), generator=generator)
    return DecoderWeights(head, [], torch.ones(width), head, 1, 1, width, 1e-6), hidden, labels


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0, 0.0])
@pytest.mark.parametrize("chunk_elements", [None, 1, 61, 300, 10**6])
def test_it_is_log_softmax_in_any_slices(temperature: float, chunk_elements: int | None) -> None:
    weights, hidden, labels = problem()
    weight = torch.linspace(-1, 2, 23)
    logprobs = token_logprobs(weights, hidden, labels, temperature=temperature, chunk_elements=chunk_elements)
    plain = (hidden @ weights.head.T / (temperature or 1.0)).log_softmax(-1)[torch.arange(23), labels]
    torch.testing.assert_close(logprobs, plain, rtol=1e-5, atol=1e-5)
    mine = torch.autograd.grad((logprobs * weight).sum(), (hidden, weights.head))
    theirs = torch.autograd.grad((plain * weight).sum(), (hidden, weights.head))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("chunk_elements", [None, 61, 300])
def test_entropy_in_any_slices(temperature: float, chunk_elements: int | None) -> None:
    weights, hidden, _ = problem()
    weight = torch.linspace(-1, 2, 23)
    entropies = token_entropies(weights, hidden, temperature=temperature, chunk_elements=chunk_elements)
    logprobs = (hidden @ weights.head.T / (temperature or 1.0)).log_softmax(-1)
    plain = -(logprobs.exp() * logprobs).sum(-1)
    torch.testing.assert_close(entropies, plain, rtol=1e-5, atol=1e-5)
    mine = torch.autograd.grad((entropies * weight).sum(), (hidden, weights.head))
    theirs = torch.autograd.grad((plain * weight).sum(), (hidden, weights.head))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_large_logits_do_not_overflow() -> None:
    weights, hidden, labels = problem()
    logprobs = token_logprobs(weights, hidden * 1e4, labels)
    assert torch.isfinite(logprobs).all()
    assert torch.isfinite(torch.autograd.grad(logprobs.sum(), hidden)[0]).all()


def test_no_targets() -> None:
    weights, hidden, labels = problem()
    assert token_logprobs(weights, hidden[:0], labels[:0]).shape == (0,)
