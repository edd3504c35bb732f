"""Our losses against TRL's own `_compute_loss`, on the same tensors: value and gradient to 1e-5.

TRL's method runs unchanged. Only what surrounds it is stood in for: the model (its log-probabilities are ours), the accelerator of a single
process, and the settings that the method reads. Samples have different lengths and padding, and tool tokens in the middle that TRL masks
and we never see. Where TRL means something else by a setting, the class of the loss says so, and the options here show how to translate.
"""

import warnings
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from spadework.algorithms.losses.loss import LossInputs
from spadework.algorithms.losses.objective import build_objective

torch.set_num_threads(1)

# Sampled tokens, 0 for a tool's token and for padding.
MASK = torch.tensor([[1, 1, 1, 0, 0, 1, 0, 0], [1, 1, 0, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]])
BUDGET = 8


@pytest.fixture(scope="module")
def trainers() -> tuple[Any, Any, Any]:
    """GRPOTrainer, GMPOTrainer and RLOOTrainer."""
    pytest.importorskip("trl", reason="TRL is not installed; it comes with the extra `bench`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.experimental.gmpo import GMPOTrainer
        from trl.trainer.grpo_trainer import GRPOTrainer
        from trl.trainer.rloo_trainer import RLOOTrainer
    return GRPOTrainer, GMPOTrainer, RLOOTrainer


class Batch:
    """Random columns [4, 8], padded; the spread puts tokens on every side of every clip."""

    def __init__(self, seed: int, spread: float) -> None:
        generator = torch.Generator().manual_seed(seed)

        def noise(scale: float) -> Tensor:
            return scale * torch.randn(MASK.shape, generator=generator, dtype=torch.float64)

        self.old = noise(1.0).abs().neg() - 0.5
        self.logprobs = (self.old + noise(spread)).requires_grad_()
        self.reference = self.old + noise(0.3)
        self.sampler = self.old - noise(0.6)
        self.entropy = noise(1.0).abs().requires_grad_()
        self.advantages = torch.tensor([1.0, -0.7, 0.4, -1.3], dtype=torch.float64)

    def ours(self) -> LossInputs:
        """The same without padding and tool tokens."""
        kept = MASK.bool()
        return LossInputs(
            logprobs=self.logprobs[kept],
            old_logprobs=self.old[kept],
            sampler_logprobs=self.sampler[kept],
            advantages=self.advantages[:, None].expand(MASK.shape)[kept],
            sequence_ids=torch.arange(4)[:, None].expand(MASK.shape)[kept],
            num_tokens=int(MASK.sum()),
            num_sequences=4,
            reference_logprobs=self.reference[kept],
            entropy=self.entropy[kept],
        )

    def theirs(self, trainer: Any, changes: dict[str, Any], completion_mask: Tensor | None = None) -> Tensor:
        """TRL's loss."""
        args = {"use_bias_correction_kl": False, "delta": None, "steps_per_generation": 1} | changes.pop("args", {})
        settings = {
            "args": SimpleNamespace(**args),
            "model": SimpleNamespace(training=True),
            "accelerator": SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x, sync_gradients=False),
            "loss_type": "grpo",
            "importance_sampling_level": "token",
            "epsilon_low": 0.2,
            "epsilon_high": 0.2,
            "beta": 0.0,
            "use_vllm": False,
            "vllm_importance_sampling_correction": True,
            "max_completion_length": BUDGET,
            "current_gradient_accumulation_steps": 1,
            "top_entropy_quantile": 1.0,
            "off_policy_mask_threshold": None,
            "aux_loss_enabled": False,
            "_entropy_bonus_enabled": False,
            "use_adaptive_entropy": False,
            "_metrics": {"train": defaultdict(list)},
            "_get_per_token_logps_and_entropies": lambda *_, **__: (self.logprobs, self.entropy, None),
        }
        stand_in = SimpleNamespace(**(settings | changes))
        inputs = {
            "prompt_ids": torch.zeros(4, 2),
            "prompt_mask": torch.ones(4, 2),
            "completion_ids": torch.zeros(MASK.shape),
            "completion_mask": torch.ones(MASK.shape) if completion_mask is None else completion_mask,
            "tool_mask": MASK,
            "advantages": self.advantages,
            "old_per_token_logps": self.old,
            "old_logps": (self.old * MASK).sum(1),  # of whole samples, which RLOO compares
            "ref_per_token_logps": self.reference,
            "num_items_in_batch": MASK.sum(),
            "importance_sampling_ratio": (self.old - self.sampler).exp().clamp(max=2.0),
        }
        return trainer._compute_loss(stand_in, None, inputs)


SEQUENCES = {"aggregation": "seq-mean-token-mean"}
CONSTANT = {"aggregation": "constant", "length": BUDGET}
GSPO = {"importance_sampling_level": "sequence", "epsilon_low": 0.1, "epsilon_high": 0.15}
CASES: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "grpo": ({}, {"ppo-clip": SEQUENCES}),
    "grpo, with KL": ({"beta": 0.04}, {"ppo-clip": SEQUENCES, "kl": {}}),
    "dr_grpo": ({"loss_type": "dr_grpo"}, {"ppo-clip": CONSTANT}),
    "dapo": ({"loss_type": "dapo", "epsilon_high": 0.28}, {"ppo-clip": {"clip_high": 0.28}}),
    "bnpo": ({"loss_type": "bnpo"}, {"ppo-clip": {}}),
    "dual clip": ({"loss_type": "dapo", "args": {"delta": 1.5}}, {"ppo-clip": {"dual_clip": 1.5}}),
    "cispo": ({"loss_type": "cispo", "epsilon_high": 1.3}, {"cispo": {"clip_high": 0.3}}),
    "gspo": (GSPO, {"gspo": {"clip_low": 0.1, "clip_high": 0.15}}),
    "gspo, with KL": (GSPO | {"beta": 0.1}, {"gspo": {"clip_low": 0.1, "clip_high": 0.15}, "kl": {"coef": 0.1}}),
    "truncated importance sampling": ({"loss_type": "dapo", "use_vllm": True, "beta": 0.04}, {"ppo-clip": {}, "tis": {}, "kl": {}}),
    "entropy bonus": (
        {"loss_type": "dapo", "_entropy_bonus_enabled": True, "entropy_coef": 0.01},
        {"ppo-clip": {}, "entropy-bonus": {}},
    ),
}


def assert_same(batch: Batch, ours: Tensor, theirs: Tensor) -> None:
    leaves = [batch.logprobs, batch.entropy]
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    for mine, other in zip(*(torch.autograd.grad(loss, leaves, allow_unused=True) for loss in (ours, theirs)), strict=True):
        assert (mine is None) == (other is None)
        if mine is not None and other is not None:
            torch.testing.assert_close(mine, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("spread", [0.0, 0.5])
@pytest.mark.parametrize("name", CASES)
def test_grpo_trainer(trainers: tuple[Any, Any, Any], name: str, spread: float) -> None:
    theirs, ours = CASES[name]
    for seed in range(3):
        batch = Batch(seed, spread)
        output = build_objective(ours)(batch.ours())
        if spread and name != "truncated importance sampling":
            assert 0 < output.metrics["actor/pg_clipfrac"] < 1, "no token is on each side of the clip"
        assert_same(batch, output.loss, batch.theirs(trainers[0], dict(theirs)))


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_gmpo_trainer(trainers: tuple[Any, Any, Any], spread: float) -> None:
    for seed in range(3):
        batch = Batch(seed, spread)
        theirs = batch.theirs(trainers[1], {"epsilon_low": 0.4, "epsilon_high": 0.4, "beta": 0.04})
        assert_same(batch, build_objective({"gmpo": {}, "kl": {}})(batch.ours()).loss, theirs)


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_rloo_trainer(trainers: tuple[Any, Any, Any], spread: float) -> None:
    for seed in range(3):
        batch = Batch(seed, spread)
        theirs = batch.theirs(trainers[2], {}, MASK)  # this trainer knows no tool tokens: what it scores are the sampled ones
        output = build_objective({"sequence-clip": {}})(batch.ours())
        assert_same(batch, output.loss, theirs)
