"""The learner: packs in, new weights out. It knows neither reward nor agent nor algorithm.

A step learns from one batch in one or several optimiser updates. Every update is the sum over micro-batches of a loss that is already
divided by the counts of the whole update, so the packing does not change the result. What has to be known as it was before the first
update is computed then, once, without gradient: the log-probabilities of the sampled tokens under the weights of that moment
(`old_logprobs`, verl's `compute_log_prob`) and under frozen models. Compute type and master type are separate: parameters stay in float32,
products may be bfloat16.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from spadework.algorithms.losses.loss import LossInputs, LossOutput
from spadework.core.config import Config
from spadework.models.checkpoint import parameters
from spadework.models.decoder import fuse
from spadework.models.logprobs import token_entropies, token_logprobs
from spadework.training.critic import Critic, describe
from spadework.training.optimizer import Optimizer, OptimizerConfig
from spadework.training.packed import ComputeType, ModelWeights, PackedModel, compute_dtype, frozen_model
from spadework.trajectories.packing import Pack

__all__ = ["Learner", "LearnerConfig"]

LossFunction = Callable[[LossInputs], LossOutput]
WORST = "rollout_corr/max_abs_diff"


class LearnerConfig(Config):
    """How a stage updates the weights."""

    optimizer: OptimizerConfig = OptimizerConfig()
    dtype: ComputeType = "auto"
    """Compute type of the products; parameters stay in float32."""
    max_tokens_per_pack: int = Field(default=8192, gt=0)
    """Tokens of one micro-batch."""


class Learner:
    """Updates a model in place."""

    def __init__(
        self,
        model: PreTrainedModel,
        config: LearnerConfig,
        *,
        total_steps: int,
        frozen: Mapping[str, ModelWeights] | None = None,
        critic: Critic | None = None,
    ) -> None:
        """Prepare the optimiser of one stage.

        Args:
            model: is updated in place.
            config: how.
            total_steps: of the stage.
            frozen: models whose log-probabilities an objective may read, by the column of `LossInputs` that they fill:
                `reference_logprobs`, `teacher_logprobs`.
            critic: learns in the same updates, and alone in its warm-up.
        """
        self.model = model
        self.config = config
        self.critic = critic
        self.step_number = 0
        self.total_steps = total_steps
        self._optimizer = Optimizer(model, config.optimizer)
        self._device = next(model.parameters()).device
        dtype = compute_dtype(config.dtype, self._device.type)
        self._forward = PackedModel(model.config, lambda: fuse(model.config, parameters(model), dtype), self._device, dtype)
        self._frozen = {column: frozen_model(weights, self._device, dtype) for column, weights in (frozen or {}).items()}
        self._entropies = (0.0, 0)
        """Sum over the steps of the mean entropy of sampled tokens, and number of steps."""

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """Current parameters by their Hugging Face names, for `Engine.load`."""
        with torch.no_grad():
            return parameters(self.model)

    def step(
        self,
        packs: Sequence[Pack],
        loss: LossFunction,
        *,
        temperature: float = 1.0,
        updates: Sequence[Sequence[Pack]] | None = None,
        done: float = 0.0,
    ) -> dict[str, float]:
        """Learn from one batch.

        The learning rate is that of the step, for all of its updates. In the warm-up of a critic the weights stay as they are.

        Args:
            packs: the micro-batches of the whole batch.
            loss: called once per pack. Its `needs`, if it has any, name the optional columns of `LossInputs` to supply.
            temperature: at which the tokens were sampled.
            updates: the micro-batches of every optimiser update, in order; by default one update with all packs.
            done: share of the stage that is behind it, where a budget is further than the steps; the learning rate follows the larger.

        Returns:
            Metrics by verl's names: summed over the packs of an update, and their means over the updates.

        Raises:
            ValueError: the loss needs a model that the learner was made without.
        """
        updates = [packs] if updates is None else updates
        tokens = sum(len(pack.targets) for pack in packs)
        total, steps = self._entropies
        self._entropies = (total + sum(float(pack.entropies.sum()) for pack in packs) / max(1, tokens), steps + 1)
        needs: frozenset[str] = getattr(loss, "needs", frozenset())
        columns = self._columns(packs, needs, temperature, moves=len(updates) > 1)
        told = [
            self._update(update, loss, needs, columns, temperature, max(self.step_number, done * self.total_steps)) for update in updates
        ]
        self.step_number += 1
        metrics = {} if self.critic is None else describe(packs)
        for name in dict.fromkeys(name for each in told for name in each):
            values = [each[name] for each in told if name in each]
            metrics[name] = max(values) if name == WORST else sum(values) / len(values)
        return metrics

    @torch.no_grad()
    def _columns(self, packs: Sequence[Pack], needs: frozenset[str], temperature: float, *, moves: bool) -> dict[str, Tensor]:
        """What must be known as it is before the first update, by the number of the policy token."""
        if absent := sorted(needs & {"reference_logprobs", "teacher_logprobs"} - self._frozen.keys()):
            raise ValueError(f"the objective needs {absent[0]}, and the learner was made without that model")
        models = {column: model for column, model in self._frozen.items() if column in needs}
        if moves:
            models["old_logprobs"] = self._forward
        trained = [pack for pack in packs if len(pack.targets)]
        if not models or not trained:
            return {}
        numbers = np.concatenate([pack.numbers for pack in trained])
        if len(np.unique(numbers)) < len(numbers):
            raise ValueError("two policy tokens of the step have one number; make the packs of a step from `step_samples`")
        columns = {name: torch.zeros(int(numbers.max()) + 1, device=self._device) for name in models}
        for pack in trained:
            places = self._put(pack.numbers)
            for name, model in models.items():
                columns[name][places] = model.logprobs(pack, temperature=temperature)
        return columns

    def _update(
        self,
        packs: Sequence[Pack],
        loss: LossFunction,
        needs: frozenset[str],
        columns: Mapping[str, Tensor],
        temperature: float,
        at: float,
    ) -> dict[str, float]:
        """One optimiser update of the policy and of the critic, with the learning rates of the place `at` in the stage."""
        counts = {
            "num_tokens": sum(len(pack.targets) for pack in packs),
            "num_sequences": sum(pack.num_sequences for pack in packs),
            "num_observations": sum(len(pack.observations) for pack in packs),
        }
        waiting = 0 if self.critic is None else self.critic.config.warmup
        learns = self.step_number >= waiting
        metrics: dict[str, float] = {}
        worst = 0.0
        for pack in packs:
            if not len(pack.targets):
                continue
            with torch.set_grad_enabled(learns):
                inputs = self._inputs(pack, counts, needs, columns, temperature)
                output = loss(inputs)
            if learns:
                output.loss.backward()
            worst = max(worst, float((inputs.old_logprobs - inputs.sampler_logprobs).abs().max()))
            shares = output.metrics if self.critic is None else output.metrics | self.critic.learn(pack, counts["num_tokens"])
            for name, value in shares.items():
                metrics[name] = metrics.get(name, 0.0) + value
        scale = self.config.optimizer.scale(at - waiting, self.total_steps - waiting) if learns else 0.0
        metrics["actor/grad_norm"] = self._optimizer.step(scale) if learns else 0.0
        metrics["actor/lr"] = scale * self.config.optimizer.lr
        metrics[WORST] = worst
        return metrics if self.critic is None else metrics | self.critic.update(at)

    def _inputs(
        self, pack: Pack, counts: Mapping[str, int], needs: frozenset[str], columns: Mapping[str, Tensor], temperature: float
    ) -> LossInputs:
        states = self._forward(pack)
        weights, predicting = states.weights, states.at(pack.sources)
        logprobs = token_logprobs(weights, predicting, states.tokens(pack.targets), temperature=temperature)
        places = self._put(pack.numbers)
        extra: dict[str, Any] = {"old_logprobs": logprobs.detach()} | {name: column[places] for name, column in columns.items()}
        if "entropy" in needs:
            extra["entropy"] = token_entropies(weights, predicting, temperature=temperature)
        if "entropy_history" in needs:
            extra["entropy_history"] = self._entropies[0] / self._entropies[1]
        if "rewards" in needs:
            extra["rewards"] = self._put(pack.rewards)
        if "observations" in needs:
            extra["observations"] = token_logprobs(weights, states.at(pack.observation_sources), states.tokens(pack.observations))
            extra["num_observations"] = counts["num_observations"]
        return LossInputs(
            logprobs=logprobs,
            sampler_logprobs=self._put(pack.sampler_logprobs),
            advantages=self._put(pack.advantages),
            sequence_ids=self._put(pack.sequence_ids),
            num_tokens=counts["num_tokens"],
            num_sequences=counts["num_sequences"],
            entropies=self._put(pack.entropies),
            **extra,
        )

    def _put(self, array: "np.ndarray[Any, Any]") -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs beside the weights."""
        state = {
            "step": self.step_number,
            "total_steps": self.total_steps,
            "optimizer": self._optimizer.state_dict(),
            "entropies": self._entropies,
        }
        return state if self.critic is None else state | {"critic": self.critic.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a saved state."""
        self.step_number = int(state["step"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._entropies = tuple(state["entropies"])
        if self.critic is not None:
            self.critic.load_state_dict(state["critic"])
