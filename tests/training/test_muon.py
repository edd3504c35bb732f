"""Our Muon is torch's, and what it calls orthogonal nearly is."""

import pytest
import torch
from torch import nn

from spadework.training.muon import Muon, orthogonalise

SHAPES = [(6, 4), (6, 4), (4, 6), (5, 5)]


def matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def test_three_steps_are_those_of_torch() -> None:
    ours, theirs = matrices(), matrices()
    optimizers = (Muon(ours, lr=0.1, weight_decay=0.2), torch.optim.Muon(theirs, lr=0.1, weight_decay=0.2))
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for start, a, b in zip(matrices(), ours, theirs, strict=True):
        # Theirs is computed in bfloat16, which has eight bits: three updates with entries of about 0.05 agree to about 0.002.
        torch.testing.assert_close(a, b, rtol=0, atol=5e-3)
        assert (a - start).abs().max() > 0.05


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 12, 5), (2, 5, 12)])
def test_singular_values_come_near_one(shape: tuple[int, int, int]) -> None:
    given = 1e-3 * torch.randn(shape, generator=torch.Generator().manual_seed(2))
    result = orthogonalise(given, 5)
    assert result.shape == given.shape and result.dtype == given.dtype
    # The polynomial is tuned for speed: it ends between about 0.7 and 1.2. The smallest values of a square matrix take longer.
    singular = torch.linalg.svdvals(result)
    assert singular.max() < 1.3
    assert singular[:, :-1].min() > 0.5
    # The singular vectors stay: the product with the given matrix is symmetric and positive.
    product = result.transpose(1, 2) @ given
    torch.testing.assert_close(product, product.transpose(1, 2), rtol=0, atol=1e-5)
    assert torch.linalg.eigvalsh(product).min() > -1e-6


def test_a_matrix_is_updated_as_if_it_were_alone() -> None:
    together, alone = matrices(), matrices()
    gradient = torch.randn(6, 4, generator=torch.Generator().manual_seed(3))
    together[0].grad, together[1].grad, alone[0].grad = gradient, -3 * gradient.flip(0), gradient.clone()
    Muon(together, lr=0.1).step()
    Muon(alone, lr=0.1).step()
    torch.testing.assert_close(together[0], alone[0])
    # No gradient, no step.
    assert torch.equal(together[2], matrices()[2]) and torch.equal(alone[1], matrices()[1])
