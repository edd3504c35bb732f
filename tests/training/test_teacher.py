"""A teacher has the policy's tokens, and its log-probabilities are its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config

from spadework.algorithms.losses.loss import LossInputs, LossOutput
from spadework.algorithms.losses.objective import build_objective
from spadework.core.errors import InputError
from spadework.models.checkpoint import save_checkpoint
from spadework.models.tokenizer import train_tokenizer
from spadework.training.learner import Learner, LearnerConfig
from spadework.training.optimizer import OptimizerConfig
from spadework.training.teacher import check_teacher, load_teacher
from spadework.trajectories.packing import make_packs, step_samples
from spadework.trajectories.tree import Group, Trajectory

Make = Callable[..., PreTrainedModel]
CONFIG = LearnerConfig(dtype="float32", optimizer=OptimizerConfig(name="adamw", lr=1e-3, warmup=0, decay=0))


def make_teacher(size: int) -> PreTrainedModel:
    """Another shape than the policy's, and a padded embedding."""
    config = Qwen3Config(
        vocab_size=size + 8, hidden_size=48, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=3, head_dim=16,
        intermediate_size=96, max_position_embeddings=512, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def make_group() -> Group:
    """A success and a failure."""
    group = Group("t", [])
    for sample in range(2):
        trajectory = Trajectory("t", sample, reward=1.0 - sample)
        trajectory.add("prompt", [1, 2, 3], parent=None)
        trajectory.add("generation", [10 + sample, 12, 13], parent=0, logprobs=[-2.0] * 3)
        trajectory.set_advantage(0.0)
        group.trajectories.append(trajectory)
    return group


def test_a_failure_is_pulled_towards_the_teacher(make_model: Make, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    teacher = make_teacher(len(tokenizer))
    save_checkpoint(teacher, tokenizer, tmp_path)
    check_teacher(tmp_path, tokenizer)
    weights = load_teacher(tmp_path, device="cpu", dtype=torch.float32)
    group = make_group()
    packs = make_packs(step_samples([group]), 1000)
    learner = Learner(make_model(len(tokenizer)), CONFIG, total_steps=30, frozen={"teacher_logprobs": weights})
    objective = build_objective({"ppo-clip": {}, "failure-kl": {"coef": 1.0}})
    seen: list[LossInputs] = []

    def watched(inputs: LossInputs) -> LossOutput:
        seen.append(inputs)
        return objective(inputs)

    watched.needs = objective.needs  # type: ignore[attr-defined]
    told = [learner.step(packs, watched, updates=[packs, packs]) for _ in range(30)]
    expected = []
    for trajectory in group:
        ids = torch.tensor([trajectory.token_ids(1)])
        with torch.no_grad():
            logprobs = teacher(ids).logits[0].log_softmax(-1)
        expected += [float(logprobs[2 + place, token]) for place, token in enumerate(trajectory.nodes[1].token_ids)]
    for inputs in (seen[0], seen[-1]):
        assert inputs.teacher_logprobs is not None and not inputs.teacher_logprobs.requires_grad
        assert inputs.teacher_logprobs[packs[0].numbers.argsort()].tolist() == pytest.approx(expected, abs=1e-4)

    def distance(inputs: LossInputs, reward: float) -> float:
        assert inputs.teacher_logprobs is not None and inputs.rewards is not None
        return float((inputs.logprobs.detach() - inputs.teacher_logprobs)[inputs.rewards == reward].abs().mean())

    # Advantages are 0, so nothing but the term moves the weights, and it looks at the failure alone.
    assert distance(seen[-1], 0.0) < 0.3 * distance(seen[0], 0.0)
    assert told[-1]["actor/teacher_kl_loss"] < 0.1 * told[0]["actor/teacher_kl_loss"]


def test_a_teacher_with_other_tokens_is_refused_in_one_line(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    other = train_tokenizer(["Completely different words about zebras."] * 2, vocab_size=400)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match=r"rl\.teacher: .*other has another tokenizer than the policy \(\d+ and \d+ tokens") as error:
        check_teacher(tmp_path / "other", tokenizer)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="no checkpoint could be loaded"):
        check_teacher(tmp_path / "nowhere", tokenizer)
