"""Muon on matrices, AdamW on the rest, one learning-rate schedule for both.

Muon (Jordan et al. 2024; `muon.py`) orthogonalises the momentum of each matrix; on tiny models it needs about half the steps of
AdamW. Embeddings, output heads, norms and biases go to AdamW, as its authors say. Large pretrained checkpoints were trained with AdamW and
are fine-tuned with it: `optimizer: adamw`.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from spadework.core.config import Config
from spadework.training.muon import Muon

__all__ = ["Optimizer", "OptimizerConfig"]


class OptimizerConfig(Config):
    """One optimiser for a stage."""

    name: Literal["muon", "adamw"] = "muon"
    """muon: Muon on matrices and AdamW on the rest. adamw: AdamW on everything."""
    lr: float = 4e-3
    """Peak learning rate of AdamW."""
    muon_lr: float = 0.02
    """Peak learning rate of Muon; an error with adamw, which has no use for it, unless it is the default."""
    qk_norm_lr: float | None = None
    """Peak learning rate of Qwen3's norms of queries and keys; `lr` if not given. How sharp attention can be is in these few numbers: in a
    tiny model from random weights they need a higher rate before look-up can form, and the other norms do not bear it."""
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    warmup: float = Field(default=0.03, ge=0, le=1)
    """Share of the steps in which the rate rises from 0."""
    decay: float = Field(default=0.3, ge=0, le=1)
    """Share of the steps, at the end, in which it falls to `final`."""
    final: float = Field(default=0.05, ge=0, le=1)
    """Last rate as a share of the peak."""

    @model_validator(mode="after")
    def _muon_lr_takes_effect(self) -> Self:
        if self.name == "adamw" and self.muon_lr != type(self).model_fields["muon_lr"].default:
            raise ValueError("muon_lr has no effect with adamw; leave it out, or set name: muon")
        return self

    def scale(self, step: float, total: int) -> float:
        """Factor on the peak rate at a step counted from 0; under a budget a step may lie between two numbers."""
        rise = min(1.0, (step + 1) / (self.warmup * total)) if self.warmup else 1.0
        left = (total - step) / (self.decay * total) if self.decay else 1.0
        return rise * (self.final + (1 - self.final) * min(1.0, left))


class Optimizer:
    """The optimisers of one model as one."""

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        """Take all trainable parameters of the model."""
        self.config = config
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if p.dim() == 2 and "embed_tokens" not in name and "lm_head" not in name]
        chosen = {id(p) for p in matrices} if config.name == "muon" else set()
        rest = [p for _, p in named if id(p) not in chosen]
        sharpness = [p for name, p in named if name.endswith(("q_norm.weight", "k_norm.weight"))]
        others = [p for p in rest if not any(p is q for q in sharpness)]
        groups = [
            {"params": others, "lr": config.lr},
            {"params": sharpness, "lr": config.lr if config.qk_norm_lr is None else config.qk_norm_lr},
        ]
        self.parameters = [p for _, p in named]
        self._optimizers: list[torch.optim.Optimizer] = []
        if chosen:
            self._optimizers.append(Muon(matrices, lr=config.muon_lr, weight_decay=config.weight_decay))
        if rest:
            kept = [group for group in groups if group["params"]]
            self._optimizers.append(torch.optim.AdamW(kept, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay))
        self._peaks = [group["lr"] for optimizer in self._optimizers for group in optimizer.param_groups]

    def step(self, scale: float) -> float:
        """Clip, update and clear the gradients; returns the gradient norm before clipping."""
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm))
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        for group, peak in zip(groups, self._peaks, strict=True):
            group["lr"] = peak * scale
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """State of all optimisers, for an exact resume."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self._optimizers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a saved state."""
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
