"""A critic's loss, with the clip of PPO's implementations: max((V - R)^2, (clip(V, V_old +- clip) - R)^2) / 2.

The clip takes the gradient from an estimate that has already moved `clip` towards its return. It is not in PPO's paper (arXiv 1707.06347,
eq. 9 has the square alone) but in its code, and verl and TRL keep it: verl's range is 0.5, TRL's 0.2. It is no part of an objective,
because the critic is a model of its own (`training/critic`): nothing that the policy's loss could add to itself would reach it.
"""

import torch
from torch import Tensor

__all__ = ["value_loss"]


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None = 0.5) -> tuple[Tensor, Tensor]:
    """Loss of every token [N], and for which tokens the clip cuts the gradient [N].

    Args:
        values: estimates of the return before each token, with gradient.
        old_values: the estimates from which the advantages were made.
        returns: what the critic should have said.
        clip: how far an estimate may move, in units of the reward; None for the square alone.
    """
    free = (values - returns).square() / 2
    if clip is None:
        return free, torch.zeros_like(free, dtype=torch.bool)
    bounded = old_values + (values - old_values).clamp(-clip, clip)
    clipped = (bounded - returns).square() / 2
    return torch.maximum(free, clipped), clipped > free
