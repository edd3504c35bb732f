"""The clipped surrogate: by hand, against autograd, and equal however the batch is cut."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from spadework.algorithms.losses.loss import LossInputs, losses
from spadework.algorithms.losses.ppo_clip import PPOClip
from spadework.core.errors import ConfigError

torch.set_num_threads(1)

AGGREGATIONS: list[dict[str, Any]] = [
    {"aggregation": "token-mean"},
    {"aggregation": "seq-mean-token-mean"},
    {"aggregation": "constant", "length": 10},
]


def batch(ratios: list[float], advantages: list[float], sequence_ids: list[int], **changes: Any) -> LossInputs:
    """Tokens with these ratios of new to old probability; old and sampler agree."""
    old = torch.full((len(ratios),), -2.0, dtype=torch.float64)
    logprobs = (old + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_()
    return replace(
        LossInputs(
            logprobs=logprobs,
            old_logprobs=old,
            sampler_logprobs=old,
            advantages=torch.tensor(advantages, dtype=torch.float64),
            sequence_ids=torch.tensor(sequence_ids),
            num_tokens=len(ratios),
            num_sequences=len(set(sequence_ids)),
        ),
        **changes,
    )


def gradient(loss: Tensor, inputs: LossInputs) -> list[float]:
    return torch.autograd.grad(loss, inputs.logprobs)[0].tolist()


def test_three_tokens_by_hand() -> None:
    # token 1: r 1.5, A 1: min(1.5, 1.2) = 1.2 clipped; 2: r .5, A -1: min(-.5, -.8) = -.8 clipped; 3: r 1.1, A 2: 2.2
    inputs = batch([1.5, 0.5, 1.1], [1, -1, 2], [0, 0, 1])
    # token-mean: -(1.2 - .8 + 2.2) / 3
    assert PPOClip()(inputs).loss.item() == pytest.approx(-2.6 / 3)
    # per sequence: (1.2 - .8) / 2 = .2 and 2.2; -(.2 + 2.2) / 2
    assert PPOClip(aggregation="seq-mean-token-mean")(inputs).loss.item() == pytest.approx(-1.2)
    # constant: -2.6 / (2 sequences * 10)
    output = PPOClip(aggregation="constant", length=10)(inputs)
    assert output.loss.item() == pytest.approx(-0.13)
    assert output.metrics["actor/pg_loss"] == pytest.approx(-0.13)
    assert output.metrics["actor/pg_clipfrac"] == pytest.approx(2 / 3)
    # mean of old - new: -(ln 1.5 + ln .5 + ln 1.1) / 3
    assert output.metrics["actor/ppo_kl"] == pytest.approx(-math.log(1.5 * 0.5 * 1.1) / 3)


def test_the_gradient_is_zero_exactly_where_a_token_is_clipped() -> None:
    # d loss / d logprob = -A r / N where it is free; a move against the advantage is always corrected
    ratios = [1.5, 1.5, 0.5, 0.5, 1.0, 1.1, 1.1]
    advantages = [1.0, -1.0, 1.0, -1.0, 1.0, -3.0, 0.0]
    inputs = batch(ratios, advantages, [0] * 7)
    expected = [0.0, 1.5 / 7, -0.5 / 7, 0.0, -1.0 / 7, 3.3 / 7, 0.0]
    assert gradient(PPOClip()(inputs).loss, inputs) == pytest.approx(expected)


def test_clip_higher_leaves_room_upwards_only() -> None:
    inputs = batch([1.25, 1.25, 0.75], [1, -1, -1], [0] * 3)
    assert gradient(PPOClip(clip_high=0.28)(inputs).loss, inputs) == pytest.approx([-1.25 / 3, 1.25 / 3, 0])
    assert gradient(PPOClip()(inputs).loss, inputs) == pytest.approx([0, 1.25 / 3, 0])


def test_on_policy_it_is_the_policy_gradient() -> None:
    inputs = batch([1.0] * 4, [1, -2, 0.5, 0], [0, 0, 1, 1])
    assert gradient(PPOClip()(inputs).loss, inputs) == pytest.approx([-0.25, 0.5, -0.125, 0])


def test_weights_scale_a_tokens_loss_and_not_the_counts() -> None:
    inputs = batch([1.0, 1.0], [1, 1], [0, 1], weights=torch.tensor([1.0, 0.5], dtype=torch.float64))
    assert PPOClip()(inputs).loss.item() == pytest.approx(-0.75)
    assert PPOClip(aggregation="seq-mean-token-mean")(inputs).loss.item() == pytest.approx(-0.75)


def test_far_off_policy_tokens_do_not_make_nan() -> None:
    inputs = batch([1.0, 1.0], [1, -1], [0, 0])
    inputs = replace(inputs, logprobs=torch.tensor([-0.1, -900.0], requires_grad=True), old_logprobs=torch.tensor([-800.0, -0.1]))
    assert all(math.isfinite(value) for value in gradient(PPOClip()(inputs).loss, inputs))


@pytest.mark.parametrize("options", AGGREGATIONS, ids=lambda options: options["aggregation"])
@given(data=st.data())
def test_micro_batches_add_up_to_the_big_batch(options: dict[str, Any], data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=6))
    cut = data.draw(st.integers(1, len(lengths) - 1))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    total = sum(lengths)
    columns = [torch.randn(total, generator=generator, dtype=torch.float64) for _ in range(5)]
    sequence_ids = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    leaf = columns[0].clone().requires_grad_()

    def part(first: int, last: int) -> LossInputs:
        start, stop = sum(lengths[:first]), sum(lengths[:last])
        logprobs, old, sampler, advantages, entropies = (column[start:stop] for column in (leaf, *columns[1:]))
        ids = sequence_ids[start:stop] - first
        return LossInputs(logprobs, old, sampler, advantages, ids, total, len(lengths), entropies=entropies)

    loss = PPOClip(**options)
    whole = loss(part(0, len(lengths)))
    pieces = [loss(part(0, cut)), loss(part(cut, len(lengths)))]
    assert sum(piece.loss.item() for piece in pieces) == pytest.approx(whole.loss.item())
    for name, value in whole.metrics.items():
        assert sum(piece.metrics[name] for piece in pieces) == pytest.approx(value), name
    together = torch.autograd.grad(whole.loss, leaf)[0]
    added = torch.autograd.grad(pieces[0].loss + pieces[1].loss, leaf)[0]
    torch.testing.assert_close(added, together)


@given(st.floats(0.01, 5), st.floats(-3, 3))
def test_it_never_exceeds_the_unclipped_surrogate(ratio: float, advantage: float) -> None:
    assert -PPOClip()(batch([ratio], [advantage], [0])).loss.item() <= ratio * advantage + 1e-9


def test_mismatch_of_trainer_and_sampler_is_reported() -> None:
    inputs = batch([1.0, 1.0], [1, 1], [0, 0])
    assert PPOClip()(inputs).metrics["rollout_corr/k3_kl"] == 0
    # sampler -2.5 against old -2: r = .5; kl = mean(-.5, 0), k3 = mean(e^.5 - 1 - .5, 0)
    off = replace(inputs, sampler_logprobs=torch.tensor([-2.5, -2.0], dtype=torch.float64), entropies=torch.tensor([1.0, 2.0]))
    metrics = PPOClip()(off).metrics
    assert metrics["rollout_corr/kl"] == pytest.approx(-0.25)
    assert metrics["rollout_corr/k3_kl"] == pytest.approx((math.exp(0.5) - 1.5) / 2)
    assert metrics["actor/entropy"] == pytest.approx(1.5)


def test_columns_and_counts_are_checked() -> None:
    inputs = batch([1.0, 1.0], [1, 1], [0, 0])
    with pytest.raises(ValueError, match=r"advantages has shape \(1,\); expected one entry per policy token: \(2,\)"):
        replace(inputs, advantages=torch.zeros(1))
    with pytest.raises(ValueError, match="must count the whole step; this micro-batch alone has 2 tokens"):
        replace(inputs, num_tokens=1)


@pytest.mark.parametrize("options", [{"aggregation": "constant"}, {"length": 5}])
def test_a_length_that_cannot_take_effect_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'length' goes with aggregation 'constant'"):
        losses.build("ppo-clip", options)
