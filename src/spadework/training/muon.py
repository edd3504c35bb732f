"""Muon (Jordan et al. 2024) with the matrices of equal shape orthogonalised together.

The update is that of `torch.optim.Muon` at its defaults (Nesterov momentum, five quintic Newton-Schulz steps, rate times
sqrt(max(1, rows / columns)), decoupled weight decay). torch goes matrix by matrix in bfloat16; a tiny model has thirty small
matrices, for which most of the time is overhead, and CPUs without bfloat16 units pay twice. Here one batched product serves all matrices
of a shape, in float32 on a CPU. A test compares the two.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonalise"]

COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of the quintic polynomial, as its authors tuned them."""


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised."""

    def __init__(self, params: Iterable[Tensor], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0, steps: int = 5) -> None:
        """Take two-dimensional parameters."""
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # no closure is ever given
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in shapes.items():
                directions = torch.stack([self._momentum(parameter, group["momentum"]) for parameter in parameters])
                updates = orthogonalise(directions, group["steps"])
                rate = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-rate)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        assert parameter.grad is not None
        buffer.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(buffer, momentum)


def orthogonalise(matrices_BMN: Tensor, steps: int) -> Tensor:
    """Nearly orthogonal matrices with the singular vectors of the given ones, by Newton-Schulz iteration."""
    a, b, c = COEFFICIENTS
    x = matrices_BMN if matrices_BMN.device.type == "cpu" else matrices_BMN.bfloat16()
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.transpose(1, 2)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(a * x, torch.baddbmm(b * gram, gram, gram, alpha=c), x)
    return (x if wide else x.transpose(1, 2)).to(matrices_BMN.dtype)
