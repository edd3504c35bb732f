"""A critic: what a trajectory will still earn, estimated before every token that the policy samples (PPO, arXiv 1707.06347).

A model of its own, as in verl and Search-R1: a copy of the policy's weights at the start of the stage with one number per token instead of
logits. The estimate before a token is made from the hidden state that predicts it, so it cannot know the token. The head starts at 0, so
the first advantages are the returns. It learns in the same mini-batches as the policy and has an optimiser of its own; compute type and
packs are the policy's. The loss is a mean over the tokens of the optimiser update, as in verl.

In the first `warmup` steps the critic alone learns, so that the policy is not moved by estimates that mean nothing yet (verl's
`critic_warmup`). Left out: a trunk shared with the policy, and a critic of another size.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from spadework.algorithms.losses.value import value_loss
from spadework.core.config import Config
from spadework.models.checkpoint import parameters
from spadework.models.decoder import fuse
from spadework.training.optimizer import Optimizer, OptimizerConfig
from spadework.training.packed import ComputeType, PackedModel, compute_dtype
from spadework.trajectories.packing import Pack

__all__ = ["Critic", "CriticConfig", "describe"]


class CriticConfig(Config):
    """How the critic learns."""

    optimizer: OptimizerConfig = OptimizerConfig()
    clip: float | None = Field(default=0.5, gt=0)
    """How far an estimate may move in a step before it has no gradient, in units of the reward; verl: 0.5. Null: PPO's paper, no clip."""
    warmup: int = Field(default=0, ge=0)
    """Steps at the start in which only the critic learns."""


class _ValueModel(nn.Module):
    """A decoder with one output. The head is a vector and not a matrix, so that Muon leaves it to AdamW."""

    def __init__(self, policy: PreTrainedModel) -> None:
        super().__init__()
        self.decoder = copy.deepcopy(policy)
        device = next(policy.parameters()).device
        self.head = nn.Parameter(torch.zeros(policy.config.hidden_size, device=device))
        self.bias = nn.Parameter(torch.zeros((), device=device))


class Critic:
    """Estimates returns, and learns from them."""

    def __init__(self, policy: PreTrainedModel, config: CriticConfig, *, total_steps: int, dtype: ComputeType = "auto") -> None:
        """Copy the policy.

        Args:
            policy: as it is at the start of the stage.
            config: how the critic learns.
            total_steps: of the stage.
            dtype: compute type.
        """
        self.config = config
        self._total_steps = total_steps
        self._model = _ValueModel(policy)
        self._optimizer = Optimizer(self._model, config.optimizer)
        device = next(policy.parameters()).device
        kind, decoder = compute_dtype(dtype, device.type), self._model.decoder
        self._forward = PackedModel(decoder.config, lambda: fuse(decoder.config, parameters(decoder), kind), device, kind)

    def _values(self, pack: Pack) -> Tensor:
        return self._forward(pack).at(pack.sources).float() @ self._model.head + self._model.bias

    @torch.no_grad()
    def estimate(self, packs: Sequence[Pack], count: int) -> npt.NDArray[np.float64]:
        """The value before each of the step's `count` policy tokens, by its number; 0 for a token that is no target."""
        values = np.zeros(count)
        for pack in packs:
            if len(pack.targets):
                values[pack.numbers] = self._values(pack).cpu().numpy()
        return values

    def learn(self, pack: Pack, num_tokens: int) -> dict[str, float]:
        """Add a micro-batch's gradient.

        Args:
            pack: with the estimates from which its advantages were made, and returns.
            num_tokens: policy tokens of the optimiser update.

        Returns:
            Its share of verl's `critic/*` metrics.
        """
        values = self._values(pack)
        old, returns = (torch.from_numpy(column).to(values.device) for column in (pack.values, pack.returns))
        per_token, cut = value_loss(values, old, returns, self.config.clip)
        loss = per_token.sum() / num_tokens
        loss.backward()
        sums = {"critic/vf_clipfrac": cut, "critic/vpred_mean": values.detach()}
        return {"critic/vf_loss": float(loss.detach())} | {name: float(column.sum()) / num_tokens for name, column in sums.items()}

    def update(self, step: float) -> dict[str, float]:
        """One optimiser update with the gradient so far, in a step counted from 0."""
        scale = self.config.optimizer.scale(step, self._total_steps)
        return {"critic/grad_norm": self._optimizer.step(scale), "critic/lr": scale * self.config.optimizer.lr}

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs: weights and optimiser."""
        return {"model": self._model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a saved state."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])


def describe(packs: Sequence[Pack]) -> dict[str, float]:
    """How good the estimates of a step were, before the critic learned from it.

    `critic/vf_explained_var` is 1 - var(return - value) / var(return): 1 for a perfect critic, 0 for one that says the same everywhere; not
    a number where all returns are equal.
    """
    if not any(len(pack.targets) for pack in packs):
        return {}
    values, returns = (np.concatenate(columns).astype(np.float64) for columns in zip(*((p.values, p.returns) for p in packs), strict=True))
    spread = float(returns.var())
    return {
        "critic/values/mean": float(values.mean()),
        "critic/returns/mean": float(returns.mean()),
        "critic/vf_explained_var": 1 - float((returns - values).var()) / spread if spread else float("nan"),
    }
