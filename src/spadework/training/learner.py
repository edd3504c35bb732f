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
from spadework.models.decoder import DecoderWeights, Rotary, fuse, hidden_states
from spadework.models.logprobs import token_entropies, token_logprobs
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

    def __init__(
        self, model: PreTrainedModel, config: LearnerConfig, *, total_steps: int, reference: Mapping[str, Tensor] | None = None
    ) -> None:
        """Prepare the optimiser of one stage.

        Args:
            model: is updated in place.
            config: how.
            total_steps: of the stage.
            reference: parameters of the frozen policy that an objective may measure the KL to.
        """
        self.model = model
        self.config = config
        self.step_number = 0
        self.total_steps = total_steps
        self._optimizer = Optimizer(model, config.optimizer)
        self._device = next(model.parameters()).device
        self._dtype = compute_dtype(config.dtype, self._device.type)
        self._rotary = Rotary(model.config, self._device, self._dtype)
        self._reference = reference
        self._entropies = (0.0, 0)
        """Sum over the steps of the mean entropy of sampled tokens, and number of steps."""

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """Current parameters by their Hugging Face names, for `Engine.load`."""
        with torch.no_grad():
            return parameters(self.model)

    def step(self, packs: Sequence[Pack], loss: LossFunction, *, temperature: float = 1.0) -> dict[str, float]:
        """One optimiser update.

        Args:
            packs: the micro-batches of the step.
            loss: called once per pack. Its `needs`, if it has any, name the optional columns of `LossInputs` to supply.
            temperature: at which the tokens were sampled.

        Returns:
            Metrics by verl's names, summed over the packs.
        """
        counts = {
            "num_tokens": sum(len(pack.targets) for pack in packs),
            "num_sequences": sum(pack.num_sequences for pack in packs),
            "num_observations": sum(len(pack.observations) for pack in packs),
        }
        total, steps = self._entropies
        self._entropies = (total + sum(float(pack.entropies.sum()) for pack in packs) / max(1, counts["num_tokens"]), steps + 1)
        needs: frozenset[str] = getattr(loss, "needs", frozenset())
        metrics: dict[str, float] = {}
        worst = 0.0
        for pack in packs:
            if not len(pack.targets):
                continue
            inputs = self._inputs(pack, counts, needs, temperature)
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

    def _inputs(self, pack: Pack, counts: Mapping[str, int], needs: frozenset[str], temperature: float) -> LossInputs:
        attention = PackedAttention(pack.segments, self._device)
        weights = fuse(self.model.config, parameters(self.model), self._dtype)
        hidden = self._hidden(weights, pack, attention)
        tokens, where = self._put(pack.token_ids), attention.where
        sources, labels = where[self._put(pack.sources)], tokens[self._put(pack.targets)]
        predicting = hidden[sources]
        logprobs = token_logprobs(weights, predicting, labels, temperature=temperature)
        extra: dict[str, Any] = {}
        if "entropy" in needs:
            extra["entropy"] = token_entropies(weights, predicting, temperature=temperature)
        if "entropy_history" in needs:
            extra["entropy_history"] = self._entropies[0] / self._entropies[1]
        if "rewards" in needs:
            extra["rewards"] = self._put(pack.rewards)
        if "observations" in needs:
            seen = hidden[where[self._put(pack.observation_sources)]]
            extra["observations"] = token_logprobs(weights, seen, tokens[self._put(pack.observations)])
            extra["num_observations"] = counts["num_observations"]
        if "reference_logprobs" in needs:
            if self._reference is None:
                raise ValueError("the objective needs reference_logprobs, and the learner was made without a reference")
            with torch.no_grad():
                frozen = fuse(self.model.config, self._reference, self._dtype)
                before = self._hidden(frozen, pack, attention)[sources]
                extra["reference_logprobs"] = token_logprobs(frozen, before, labels, temperature=temperature)
        return LossInputs(
            logprobs=logprobs,
            old_logprobs=logprobs.detach(),
            sampler_logprobs=self._put(pack.sampler_logprobs),
            advantages=self._put(pack.advantages),
            sequence_ids=self._put(pack.sequence_ids),
            num_tokens=counts["num_tokens"],
            num_sequences=counts["num_sequences"],
            entropies=self._put(pack.entropies),
            **extra,
        )

    def _hidden(self, weights: DecoderWeights, pack: Pack, attention: PackedAttention) -> Tensor:
        """Hidden states of the pack in the layout of the attention."""
        rotation = self._rotary.at(attention.positions, attention.length)
        return hidden_states(weights, self._put(pack.token_ids)[attention.order], rotation, attention)

    def _put(self, array: "np.ndarray[Any, Any]") -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs beside the weights."""
        return {
            "step": self.step_number,
            "total_steps": self.total_steps,
            "optimizer": self._optimizer.state_dict(),
            "entropies": self._entropies,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a saved state."""
        self.step_number = int(state["step"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._entropies = tuple(state["entropies"])
