"""The learner: packs in, new weights out. It knows neither reward nor agent nor algorithm.

Every optimiser step is the sum over micro-batches of a loss that is already divided by the counts of the whole step, so the packing does
not change the result. Compute type and master type are separate: parameters stay in float32, products may be bfloat16.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from spadework.algorithms.losses.loss import LossInputs, LossOutput
from spadework.core.config import Config
from spadework.models.attention import PackedAttention
from spadework.models.checkpoint import parameters
from spadework.models.decoder import Rotary, fuse, hidden_states
from spadework.models.logprobs import token_logprobs
from spadework.training.optimizer import Optimizer, OptimizerConfig
from spadework.trajectories.packing import Pack

__all__ = ["Learner", "LearnerConfig", "compute_dtype"]

LossFunction = Callable[[LossInputs], LossOutput]


def compute_dtype(name: str, device: str = "cpu") -> torch.dtype:
    """The compute type that a setting means here.

    `auto` is bfloat16 on a GPU and on a CPU that multiplies it in hardware tiles (AMX), where it is three times as fast as float32; on
    other CPUs it is half as fast, so there it is float32.
    """
    if name == "auto":
        fast = device != "cpu" or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if fast else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


class LearnerConfig(Config):
    """How a stage updates the weights."""

    optimizer: OptimizerConfig = OptimizerConfig()
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute type of the products; parameters stay in float32."""
    max_tokens_per_pack: int = Field(default=8192, gt=0)
    """Tokens of one micro-batch."""


class Learner:
    """Updates a model in place."""

    def __init__(self, model: PreTrainedModel, config: LearnerConfig, *, total_steps: int) -> None:
        """Prepare the optimiser of one stage."""
        self.model = model
        self.config = config
        self.step_number = 0
        self.total_steps = total_steps
        self._optimizer = Optimizer(model, config.optimizer)
        self._device = next(model.parameters()).device
        self._dtype = compute_dtype(config.dtype, self._device.type)
        self._rotary = Rotary(model.config, self._device, self._dtype)

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """Current parameters by their Hugging Face names, for `Engine.load`."""
        with torch.no_grad():
            return parameters(self.model)

    def step(self, packs: Sequence[Pack], loss: LossFunction, *, temperature: float = 1.0) -> dict[str, float]:
        """One optimiser update.

        Args:
            packs: the micro-batches of the step.
            loss: called once per pack.
            temperature: at which the tokens were sampled.

        Returns:
            Metrics by verl's names, summed over the packs.
        """
        num_tokens = sum(len(pack.targets) for pack in packs)
        num_sequences = sum(pack.num_sequences for pack in packs)
        metrics: dict[str, float] = {}
        worst = 0.0
        for pack in packs:
            if not len(pack.targets):
                continue
            inputs = self._inputs(pack, num_tokens, num_sequences, temperature)
            output = loss(inputs)
            output.loss.backward()
            for name, value in output.metrics.items():
                metrics[name] = metrics.get(name, 0.0) + value
            worst = max(worst, float((inputs.logprobs.detach() - inputs.sampler_logprobs).abs().max()))
        scale = self.config.optimizer.scale(self.step_number, self.total_steps)
        metrics["actor/grad_norm"] = self._optimizer.step(scale)
        metrics["actor/lr"] = scale * self.config.optimizer.lr
        metrics["rollout_corr/max_abs_diff"] = worst
        self.step_number += 1
        return metrics

    def _inputs(self, pack: Pack, num_tokens: int, num_sequences: int, temperature: float) -> LossInputs:
        weights = fuse(self.model.config, parameters(self.model), self._dtype)
        attention = PackedAttention(pack.segments, self._device)
        tokens, where = self._put(pack.token_ids), attention.where
        rotation = self._rotary.at(attention.positions, attention.length)
        hidden = hidden_states(weights, tokens[attention.order], rotation, attention)
        predicting = hidden[where[self._put(pack.sources)]]
        logprobs = token_logprobs(weights, predicting, tokens[self._put(pack.targets)], temperature=temperature)
        return LossInputs(
            logprobs=logprobs,
            old_logprobs=logprobs.detach(),
            sampler_logprobs=self._put(pack.sampler_logprobs),
            advantages=self._put(pack.advantages),
            sequence_ids=self._put(pack.sequence_ids),
            num_tokens=num_tokens,
            num_sequences=num_sequences,
            entropies=self._put(pack.entropies),
        )

    def _put(self, array: "np.ndarray[Any, Any]") -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs beside the weights."""
        return {"step": self.step_number, "total_steps": self.total_steps, "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a saved state."""
        self.step_number = int(state["step"])
        self._optimizer.load_state_dict(state["optimizer"])
