"""CISPO, GSPO, GMPO, AEPO and the dual clip: every branch by hand, the identities between them, and what they share."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from spadework.algorithms.losses.aepo import AEPO
from spadework.algorithms.losses.cispo import CISPO
from spadework.algorithms.losses.gmpo import GMPO
from spadework.algorithms.losses.gspo import GSPO
from spadework.algorithms.losses.loss import LossInputs, Surrogate, losses
from spadework.algorithms.losses.ppo_clip import PPOClip
from spadework.algorithms.losses.sequence_clip import SequenceClip
from spadework.core.errors import ConfigError

torch.set_num_threads(1)

Make = Callable[..., LossInputs]
SURROGATES: list[Surrogate] = [PPOClip(), PPOClip(dual_clip=3), CISPO(), GSPO(), GMPO(), AEPO(), SequenceClip()]


def gradient(loss: Tensor, inputs: LossInputs) -> list[float]:
    return torch.autograd.grad(loss, inputs.logprobs)[0].tolist()


def named(surrogate: Surrogate) -> str:
    return type(surrogate).__name__


def test_dual_clip_by_hand(make_inputs: Make) -> None:
    # r 4: A -1 costs 4, bounded at 3 without gradient; A -2 and r 2.5 costs 5 < 6; A 1 is clipped at 1.2 by PPO; r .5, A -1 at .8
    inputs = make_inputs([4, 2.5, 4, 0.5], [-1, -2, 1, -1], [0] * 4)
    output = PPOClip(dual_clip=3)(inputs)
    assert output.loss.item() == pytest.approx((3 + 5 - 1.2 + 0.8) / 4)
    assert gradient(output.loss, inputs) == pytest.approx([0, 5 / 4, 0, 0])
    assert output.metrics["actor/pg_clipfrac"] == pytest.approx(3 / 4)
    # without it the first token costs 4, with gradient; AFM's 10 never bounds here
    assert PPOClip()(inputs).loss.item() == PPOClip(dual_clip=10)(inputs).loss.item() == pytest.approx((4 + 5 - 1.2 + 0.8) / 4)
    assert gradient(PPOClip()(inputs).loss, inputs) == pytest.approx([1, 5 / 4, 0, 0])


def test_cispo_by_hand(make_inputs: Make) -> None:
    # weights min(r, 1.5) = 1.5, 1.5, .1; log pi = -2 + ln r; the loss of a token is -weight A log pi and its gradient -weight A
    inputs = make_inputs([2, 4, 0.1], [1, -1, 2], [0, 0, 1])
    output = CISPO(clip_high=0.5)(inputs)
    terms = [-1.5 * (math.log(2) - 2), 1.5 * (math.log(4) - 2), -0.2 * (math.log(0.1) - 2)]
    assert output.loss.item() == pytest.approx(sum(terms) / 3)
    assert gradient(output.loss, inputs) == pytest.approx([-0.5, 0.5, -0.2 / 3])
    assert output.metrics["actor/pg_clipfrac"] == pytest.approx(2 / 3)


def test_gspo_by_hand(make_inputs: Make) -> None:
    # sample 0: s = sqrt(4 * 1) = 2, A 1: clipped at 1.5, no gradient. Sample 1: s = sqrt(.25 * 1) = .5, A 3: free, -1.5; each of its
    # two tokens has -.5 * 3 / 2 tokens / 3 samples. Sample 2: s = .5, A -1: clipped at .75, costs .75.
    inputs = make_inputs([4, 1, 0.25, 1, 0.5], [1, 1, 3, 3, -1], [0, 0, 1, 1, 2])
    output = GSPO(clip_low=0.25, clip_high=0.5)(inputs)
    assert output.loss.item() == pytest.approx((-1.5 - 1.5 + 0.75) / 3)
    assert gradient(output.loss, inputs) == pytest.approx([0, 0, -0.25, -0.25, 0])
    assert output.metrics["actor/pg_clipfrac"] == pytest.approx(3 / 5)


def test_sequence_clip_by_hand(make_inputs: Make) -> None:
    # sample 0: s = 4 * .25 = 1 with A 2: free, -2, and each of its two tokens has -1 * 2 / 3 samples. Sample 1: s = 1.1 * 1.1 = 1.21,
    # A 1: clipped at 1.2 without gradient. Sample 2: s = .5, A -1: clipped at .8, costs .8.
    inputs = make_inputs([4, 0.25, 1.1, 1.1, 0.5], [2, 2, 1, 1, -1], [0, 0, 1, 1, 2])
    output = SequenceClip()(inputs)
    assert output.loss.item() == pytest.approx((-2 - 1.2 + 0.8) / 3)
    assert gradient(output.loss, inputs) == pytest.approx([-2 / 3, -2 / 3, 0, 0, 0])
    assert output.metrics["actor/pg_clipfrac"] == pytest.approx(3 / 5)


def test_gspo_tokens_may_have_advantages_of_their_own(make_inputs: Make) -> None:
    # s = 2 for both tokens, within the range: the loss is -s (A1 + A2) / 2 and each token's gradient is with its own advantage
    inputs = make_inputs([4, 1], [1, -3], [0, 0])
    output = GSPO(clip_low=1, clip_high=2)(inputs)
    assert output.loss.item() == pytest.approx(2)
    assert gradient(output.loss, inputs) == pytest.approx([-1, 3])


def test_gspo_has_the_gradient_of_the_sample_form(make_inputs: Make) -> None:
    inputs = make_inputs([1.3, 0.9, 1.1, 0.8, 0.7], [1, 1, 1, -2, -2], [0, 0, 0, 1, 1])
    log_ratio = inputs.logprobs - inputs.old_logprobs
    ratios = torch.stack([log_ratio[:3].mean().exp(), log_ratio[3:].mean().exp()])
    sample_form = -(ratios * torch.tensor([1.0, -2.0])).mean()
    assert gradient(GSPO(clip_low=0.5, clip_high=0.5)(inputs).loss, inputs) == pytest.approx(gradient(sample_form, inputs))


def test_gmpo_by_hand(make_inputs: Make) -> None:
    # sample 0, A 1: log r = ln 2, clipped to .4, and ln .5, free below: G = exp((.4 - ln 2) / 2). Only the free token has a gradient.
    # sample 1, A -2: log r = ln .5, clipped to -.4, and ln 2, free above: G = exp((ln 2 - .4) / 2)
    inputs = make_inputs([2, 0.5, 0.5, 2], [1, 1, -2, -2], [0, 0, 1, 1])
    output = GMPO()(inputs)
    first, second = math.exp((0.4 - math.log(2)) / 2), math.exp((math.log(2) - 0.4) / 2)
    assert output.loss.item() == pytest.approx((-first + 2 * second) / 2)
    # d loss / d log pi = -A G / 2 tokens / 2 samples
    assert gradient(output.loss, inputs) == pytest.approx([0, -first / 4, 0, second / 2])
    assert output.metrics["actor/pg_clipfrac"] == pytest.approx(1 / 2)


def test_aepo_by_hand(make_inputs: Make) -> None:
    # the four corners of the coefficient table, and the middle for both signs
    ratios, advantages = [2.0, 2.0, 0.5, 0.5, 1.1, 1.1], [1.0, -1.0, 1.0, -1.0, 1.0, -1.0]
    inputs = make_inputs(ratios, advantages, [0] * 6)
    output = AEPO()(inputs)
    # the value is PPO's: 1.2, -2, .5, -.8, 1.1, -1.1
    assert output.loss.item() == pytest.approx(-(1.2 - 2 + 0.5 - 0.8) / 6)
    assert output.loss.item() == pytest.approx(PPOClip()(inputs).loss.item())
    assert gradient(output.loss, inputs) == pytest.approx([-1.2 / 6, 2 / 6, -0.5 / 6, 0, -1.1 / 6, 1.1 / 6])
    assert output.metrics["actor/pg_clipfrac"] == pytest.approx(2 / 6)


@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=6), st.floats(0, 5))
def test_aepo_is_cispo_where_the_advantage_is_positive(make_inputs: Make, ratios: list[float], bound: float) -> None:
    inputs = make_inputs(ratios, [0.5 + i for i in range(len(ratios))], [0] * len(ratios))
    expected = gradient(CISPO(clip_high=bound)(inputs).loss, inputs)
    assert gradient(AEPO(clip_high=bound)(inputs).loss, inputs) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=named)
def test_on_policy_all_of_them_are_the_policy_gradient(make_inputs: Make, surrogate: Surrogate) -> None:
    # -A / 2 tokens / 2 samples; with samples of one length both averages are the same. The ratio of a sample is not divided by its length.
    inputs = make_inputs([1.0] * 4, [1, 1, -2, -2], [0, 0, 1, 1])
    length = 1 if isinstance(surrogate, SequenceClip) else 2
    assert gradient(surrogate(inputs).loss, inputs) == pytest.approx([-0.5 / length, -0.5 / length, 1 / length, 1 / length])


@pytest.mark.parametrize("surrogate", SURROGATES, ids=named)
def test_a_sample_without_policy_tokens_does_no_harm(make_inputs: Make, surrogate: Surrogate) -> None:
    # sample 1 of 3 has none; it still counts among the samples
    inputs = make_inputs([1.0, 1.0], [1, -2], [0, 2], num_sequences=3)
    count = 2 if surrogate.aggregation == "token-mean" else 3
    assert gradient(surrogate(inputs).loss, inputs) == pytest.approx([-1 / count, 2 / count])


@pytest.mark.parametrize("surrogate", SURROGATES, ids=named)
def test_far_off_policy_tokens_do_not_make_nan(make_inputs: Make, surrogate: Surrogate) -> None:
    old = torch.tensor([-800.0, -0.1, -0.1, -800.0])
    inputs = make_inputs([1.0] * 4, [1, 1, -1, -1], [0, 0, 1, 1], old_logprobs=old, sampler_logprobs=old)
    inputs.logprobs.data = torch.tensor([-0.1, -900.0, -900.0, -0.1], dtype=torch.float64)
    assert all(math.isfinite(value) for value in gradient(surrogate(inputs).loss, inputs))


@pytest.mark.parametrize("surrogate", [PPOClip(), PPOClip(dual_clip=3), GMPO()], ids=named)
def test_gradcheck(make_inputs: Make, surrogate: Surrogate) -> None:
    # those whose gradient is the derivative of their value; away from the corners of the clip
    inputs = make_inputs([1.5, 0.5, 1.1, 0.9, 4.0], [1, -1, 2, -1, -1], [0, 0, 1, 1, 1])

    def value(logprobs: Tensor) -> Tensor:
        return surrogate(replace(inputs, logprobs=logprobs)).loss

    assert torch.autograd.gradcheck(value, (inputs.logprobs,))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ppo-clip", {"dual_clip": 1}, "'dual_clip': Input should be greater than 1"),
        ("cispo", {"clip_high": -1}, "'clip_high': Input should be greater than or equal to 0"),
        ("gspo", {"clip_low": 2}, "'clip_low': Input should be less than or equal to 1"),
        ("gmpo", {"epsilon": 0.4}, "unknown key 'epsilon'"),
        ("cispo", {"length": 5}, "'length' goes with aggregation 'constant'"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        losses.build(name, options)
