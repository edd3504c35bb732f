"""The peer of the GRPO step: `GRPOTrainer` of TRL.

Everything optional that costs time is off (reference model, logging, saving, gradient checkpointing), the reward is as trivial as ours,
and the completions have the full length on both sides. The trainer drives its own loop, so a callback takes the time of each step and
lets the other side run in between.
"""

import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import logging
from trl import GRPOConfig, GRPOTrainer

__all__ = ["TrlSetting", "run_steps"]


@dataclass(frozen=True, slots=True)
class TrlSetting:
    """What may make TRL faster or slower."""

    dtype: str
    """Type of the weights."""
    micro_batch: int
    """Completions of one forward and backward pass."""

    def __str__(self) -> str:
        """As it stands in the table."""
        return f"TRL GRPOTrainer ({self.dtype}, micro-batch {self.micro_batch})"


class _Stopwatch(TrainerCallback):  # type: ignore[misc]
    """Times each step; what runs between two steps is not counted."""

    def __init__(self, between: Callable[[int], None]) -> None:
        self.seconds: list[float] = []
        self._between = between
        self._begin = 0.0

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if not self.seconds:
            self._begin = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        self.seconds.append(time.perf_counter() - self._begin)
        self._between(len(self.seconds))
        self._begin = time.perf_counter()


def _options(setting: TrlSetting, batch: int, steps: int, *, on_cpu: bool) -> dict[str, Any]:
    return dict(
        max_steps=steps,
        per_device_train_batch_size=setting.micro_batch,
        gradient_accumulation_steps=batch // setting.micro_batch,
        beta=0.0,
        num_iterations=1,
        learning_rate=1e-4,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=on_cpu,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        shuffle_dataset=False,
        seed=0,
    )


def run_steps(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    reward: Callable[[list[int]], float],
    setting: TrlSetting,
    *,
    samples: int,
    completion: int,
    steps: int,
    between: Callable[[int], None],
) -> list[float]:
    """Seconds of each GRPO step: generation, reward, advantages, one optimiser update.

    Args:
        model: is trained.
        tokenizer: of the model.
        prompts: those of every step.
        reward: of a completion's tokens.
        setting: of TRL.
        samples: completions per prompt.
        completion: tokens of each.
        steps: to run.
        between: called after each step with its number, outside of the measured time.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="trl|transformers|torch|accelerate")
    with tempfile.TemporaryDirectory() as folder:
        options = _options(setting, len(prompts) * samples, steps, on_cpu=model.device.type == "cpu")
        config = GRPOConfig(
            output_dir=folder,
            num_generations=samples,
            max_completion_length=completion,
            generation_kwargs={"min_new_tokens": completion},
            **options,
        )
        stopwatch = _Stopwatch(between)
        trainer = GRPOTrainer(
            model=model.to(getattr(torch, setting.dtype)),
            reward_funcs=lambda completion_ids, **_: [reward(tokens) for tokens in completion_ids],
            args=config,
            train_dataset=Dataset.from_dict({"prompt": prompts * steps}),
            processing_class=tokenizer,
            callbacks=[stopwatch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return stopwatch.seconds
