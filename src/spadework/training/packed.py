"""How one model is computed over packs, whatever it is for: the policy, a critic, a reference, a teacher.

A model that is trained is fused anew for every pack, so that the gradient reaches its parameters; a frozen one is fused once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PretrainedConfig

from spadework.models.attention import PackedAttention
from spadework.models.decoder import DecoderWeights, Rotary, fuse, hidden_states
from spadework.models.logprobs import token_logprobs
from spadework.trajectories.packing import Pack

__all__ = ["ComputeType", "ModelWeights", "PackStates", "PackedModel", "compute_dtype", "frozen_model"]

ComputeType = Literal["auto", "float32", "bfloat16"]


def compute_dtype(name: str, device: str = "cpu") -> torch.dtype:
    """The compute type that a setting means here.

    `auto` is bfloat16 on a GPU and on a CPU that multiplies it in hardware tiles (AMX), where it is three times as fast as float32; on
    other CPUs it is half as fast, so there it is float32.
    """
    if name == "auto":
        fast = device != "cpu" or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if fast else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


class ModelWeights(NamedTuple):
    """A model as the decoder knows it."""

    config: PretrainedConfig
    parameters: Mapping[str, Tensor]
    """By their Hugging Face names."""


@dataclass(frozen=True, slots=True)
class PackStates:
    """A pack of N tokens after the last layer, in a layout of P places."""

    weights: DecoderWeights
    hidden_PD: Tensor
    where_N: Tensor
    """In which place each token stands."""
    token_ids_N: Tensor

    def at(self, tokens_M: "np.ndarray[Any, Any]") -> Tensor:
        """Hidden states [M, D] of tokens of the pack."""
        return self.hidden_PD[self.where_N[_put(tokens_M, self.where_N.device)]]

    def tokens(self, tokens_M: "np.ndarray[Any, Any]") -> Tensor:
        """Their ids [M]."""
        return self.token_ids_N[_put(tokens_M, self.where_N.device)]


class PackedModel:
    """A decoder that is called with packs."""

    def __init__(self, config: PretrainedConfig, weights: Callable[[], DecoderWeights], device: torch.device, dtype: torch.dtype) -> None:
        """Take what is the same for all packs.

        Args:
            config: the model's configuration.
            weights: its matrices at the time of the call.
            device: where they are.
            dtype: the compute type, which is theirs.
        """
        self._weights = weights
        self._device = device
        self._rotary = Rotary(config, device, dtype)

    def __call__(self, pack: Pack) -> PackStates:
        """Run a pack through the layers."""
        attention = PackedAttention(pack.segments, self._device)
        weights, token_ids = self._weights(), _put(pack.token_ids, self._device)
        rotation = self._rotary.at(attention.positions, attention.length)
        return PackStates(weights, hidden_states(weights, token_ids[attention.order], rotation, attention), attention.where, token_ids)

    @torch.no_grad()
    def logprobs(self, pack: Pack, *, temperature: float) -> Tensor:
        """Log-probabilities [M] of the pack's policy tokens in nats, constant."""
        states = self(pack)
        return token_logprobs(states.weights, states.at(pack.sources), states.tokens(pack.targets), temperature=temperature)


@torch.no_grad()
def frozen_model(weights: ModelWeights, device: torch.device, dtype: torch.dtype) -> PackedModel:
    """A model that nobody trains."""
    fused = fuse(weights.config, weights.parameters, dtype)
    return PackedModel(weights.config, lambda: fused, device, dtype)


def _put(array: "np.ndarray[Any, Any]", device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)
