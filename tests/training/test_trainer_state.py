"""A killed stage goes on from its checkpoint and ends with the weights of the uninterrupted one, bit for bit."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from spadework.core.errors import InputError
from spadework.core.run import Run
from spadework.models.checkpoint import load_model
from spadework.training.learner import Learner, LearnerConfig
from spadework.training.supervised import cross_entropy, train_supervised
from spadework.training.trainer_state import keep_checkpoint, load_trainer_state, save_stage
from spadework.trajectories.packing import Sample, make_packs, make_sample

Make = Callable[..., PreTrainedModel]
CONFIG = LearnerConfig(dtype="float32")


def draw(stream: random.Random, step: int) -> Sample:
    """Counting up from anywhere."""
    first = stream.randrange(40)
    return make_sample(list(range(first, first + 10)), [False] + [True] * 9)


class Killed(BaseException):
    pass


def train(run: Run, learner: Learner, tokenizer: PreTrainedTokenizerFast, *, kill_in: int | None = None) -> None:
    calls = 0

    def counted(stream: random.Random, step: int) -> Sample:
        nonlocal calls
        calls += 1
        if step == kill_in and calls > 2:
            raise Killed
        return draw(stream, step)

    train_supervised(
        "sft", learner, counted, run=run, save=lambda: save_stage(run, "sft", learner, tokenizer), seed=5, batch_size=3,
        checkpoint_every=2, started=time.monotonic(),
    )  # fmt: skip


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_model(folder).named_parameters())


def test_kill_and_resume_is_the_uninterrupted_run(make_model: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    whole = Run.create(tmp_path / "whole", {})
    train(whole, Learner(make_model(), CONFIG, total_steps=7), tokenizer)
    broken = Run.create(tmp_path / "broken", {})
    with pytest.raises(Killed):
        train(broken, Learner(make_model(), CONFIG, total_steps=7), tokenizer, kill_in=6)
    [*_, (step, folder)] = broken.checkpoints("sft")
    assert step == 4, "step 5 was done and is lost"
    model = load_model(folder)
    learner = Learner(model, CONFIG, total_steps=7)
    load_trainer_state(folder, model, learner)
    broken.rewind("sft", learner.step_number)
    train(broken, learner, tokenizer)
    mine, theirs = weights(broken.checkpoints("sft")[-1][1]), weights(whole.checkpoints("sft")[-1][1])
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)

    def told(run: Run) -> list[dict[str, float]]:
        return [{key: value for key, value in event.items() if key != "time"} for event in run.events("sft")]

    assert told(broken) == told(whole) and [event["step"] for event in told(whole)] == list(range(1, 8))
    assert {"loss", "tokens", "actor/lr", "actor/grad_norm"} <= told(whole)[0].keys()


def test_only_the_newest_checkpoints_are_kept(make_model: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    learner = Learner(make_model(), CONFIG, total_steps=7)
    train(run, learner, tokenizer)
    assert [step for step, _ in run.checkpoints("sft")] == [6, 7]
    assert save_stage(run, "rl", learner, tokenizer, keep=1).name == "rl-000007"
    assert [step for step, _ in run.checkpoints("sft")] == [6, 7], "other stages keep theirs"


def test_when_a_step_has_a_checkpoint() -> None:
    assert [step for step in range(1, 11) if keep_checkpoint(step, 10, 4)] == [4, 8, 10]


def test_a_folder_without_the_trainers_state(make_model: Make, tmp_path: Path) -> None:
    model = make_model()
    with pytest.raises(InputError, match=r"no trainer_state\.pt, so training cannot be resumed"):
        load_trainer_state(tmp_path, model, Learner(model, CONFIG, total_steps=1))


def test_cross_entropy_is_a_mean_over_the_tokens_of_the_step(make_model: Make) -> None:
    samples = [draw(random.Random(seed), 1) for seed in range(4)]
    losses = []
    for sample in samples:
        losses.append(Learner(make_model(), CONFIG, total_steps=1).step(make_packs([[sample]], 100), cross_entropy)["loss"])
    together = Learner(make_model(), CONFIG, total_steps=1).step(make_packs([[sample] for sample in samples], 25), cross_entropy)
    assert together["loss"] == pytest.approx(sum(losses) / 4, rel=1e-4)
