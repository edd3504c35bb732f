"""The supervised loop, which reading and SFT share: draw sequences, pack them, learn from the masked tokens.

A step's sequences are drawn from a random stream of its own, so a run that is killed and resumed draws what the uninterrupted run would
have drawn, and ends with the same weights.
"""

import random
import time
from collections.abc import Callable

from spadework.algorithms.losses.loss import LossInputs, LossOutput
from spadework.core.progress import Progress
from spadework.core.run import Run
from spadework.core.seeds import rng
from spadework.training.learner import Learner
from spadework.training.trainer_state import keep_checkpoint
from spadework.trajectories.packing import Sample, make_packs

__all__ = ["cross_entropy", "train_supervised"]


def cross_entropy(inputs: LossInputs) -> LossOutput:
    """Mean negative log-probability of the masked tokens of the step."""
    loss = -inputs.logprobs.sum() / inputs.num_tokens
    return LossOutput(loss, {"loss": float(loss.detach())})


def train_supervised(
    stage: str,
    learner: Learner,
    draw: Callable[[random.Random, int], Sample],
    *,
    run: Run,
    save: Callable[[], object],
    seed: int,
    batch_size: int,
    checkpoint_every: int,
    started: float,
) -> None:
    """Train until the learner's total number of steps.

    Args:
        stage: its name in events and checkpoints.
        learner: may have done some of the steps already.
        draw: makes one sequence from a random stream and the number of the step.
        run: receives events and checkpoints.
        save: writes a checkpoint of the current weights.
        seed: of the run.
        batch_size: sequences per step.
        checkpoint_every: steps between checkpoints; the last step always has one.
        started: `time.monotonic()` at the start of the run.
    """
    with Progress(stage, learner.total_steps, done=learner.step_number) as progress:
        while learner.step_number < learner.total_steps:
            step = learner.step_number + 1
            stream = rng(seed, stage, step)
            samples = [draw(stream, step) for _ in range(batch_size)]
            metrics = learner.step(make_packs([[sample] for sample in samples], learner.config.max_tokens_per_pack), cross_entropy)
            metrics.pop("rollout_corr/max_abs_diff")
            run.event(stage, step, time=time.monotonic() - started, tokens=sum(map(len, samples)), **metrics)
            progress.advance(note=f"loss {metrics['loss']:.3f}")
            if keep_checkpoint(step, learner.total_steps, checkpoint_every):
                save()
