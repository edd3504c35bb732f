"""Factors from the disagreement of trainer and sampler: every branch by hand, and what they do to a gradient."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spadework.algorithms.losses.is_mask import ISMask
from spadework.algorithms.losses.loss import Correction, LossInputs, losses
from spadework.algorithms.losses.objective import build_objective
from spadework.algorithms.losses.sequence_masks import GeometricMask, SequenceMask
from spadework.algorithms.losses.tis import TIS
from spadework.core.errors import ConfigError

torch.set_num_threads(1)

Make = Callable[..., LossInputs]


def applied(correction: Correction, inputs: LossInputs) -> tuple[list[float], list[bool]]:
    factors, cut = correction.factors(inputs)
    return factors.tolist(), cut.tolist()


def weighted(make: Make, weights: list[float], ids: list[int]) -> LossInputs:
    return make([1.0] * len(weights), [1.0] * len(weights), ids, weights)


def test_tis_by_hand(make_inputs: Make) -> None:
    inputs = weighted(make_inputs, [0.5, 1.5, 3.0, 4.0], [0, 0, 1, 1])
    factors, cut = applied(TIS(), inputs)
    assert factors == pytest.approx([0.5, 1.5, 2, 2]) and cut == [False, False, True, True]
    # products: .75 and 12
    factors, cut = applied(TIS(level="sequence"), inputs)
    assert factors == pytest.approx([0.75, 0.75, 2, 2]) and cut == [False, False, True, True]


def test_is_mask_by_hand(make_inputs: Make) -> None:
    inputs = weighted(make_inputs, [0.4, 1.5, 4.9, 5.1], [0] * 4)
    factors, cut = applied(ISMask(), inputs)
    assert factors == pytest.approx([0.4, 1.5, 4.9, 0]) and cut == [False, False, False, True]
    factors, cut = applied(ISMask(low=0.5), inputs)
    assert factors == pytest.approx([0, 1.5, 4.9, 0]) and cut == [True, False, False, True]


def test_sequence_masks_by_hand(make_inputs: Make) -> None:
    # products 2.25, .98 and .3; geometric means 1.5, sqrt(.98) = .98995 and .3
    inputs = weighted(make_inputs, [1.5, 1.5, 0.98, 1.0, 0.3], [0, 0, 1, 1, 2])
    assert applied(SequenceMask(), inputs) == ([0, 0, 1, 1, 0], [True, True, False, False, True])
    assert applied(SequenceMask(high=2.3), inputs)[0] == [1, 1, 1, 1, 0]
    assert applied(GeometricMask(), inputs)[0] == [0] * 5
    assert applied(GeometricMask(low=0.98), inputs) == ([0, 0, 1, 1, 0], [True, True, False, False, True])


def test_they_act_on_the_gradient_and_not_on_the_counts(make_inputs: Make) -> None:
    # -A w / 4 with w = 1, 2 (capped), 0 (below 0.5 is dropped by the other)
    inputs = make_inputs([1.0] * 4, [1, 1, -2, 1], [0] * 4, [1, 3, 0.4, 6])
    tis = build_objective({"ppo-clip": {}, "tis": {}})(inputs)
    assert torch.autograd.grad(tis.loss, inputs.logprobs)[0].tolist() == pytest.approx([-0.25, -0.5, 0.2, -0.5])
    assert tis.metrics["rollout_corr/tis_mean"] == pytest.approx((1 + 2 + 0.4 + 2) / 4)
    assert tis.metrics["rollout_corr/tis_cut"] == pytest.approx(0.5)
    masked = build_objective({"ppo-clip": {}, "is-mask": {"low": 0.5}})(inputs)
    assert torch.autograd.grad(masked.loss, inputs.logprobs)[0].tolist() == pytest.approx([-0.25, -0.75, 0, 0])
    assert masked.metrics["rollout_corr/is-mask_cut"] == pytest.approx(0.5)


def test_with_ppo_clip_the_mask_is_the_decoupled_objective(make_inputs: Make) -> None:
    # -w min(r A, clip(r, .6, 1.4) A): r 1.5 A 1 w 2 -> -2.8; r .5 A -1 w 3 -> 1.8; r 1.1 A 2 w 5.5 -> dropped; r .9 A 1 w .5 -> -.45
    inputs = make_inputs([1.5, 0.5, 1.1, 0.9], [1, -1, 2, 1], [0] * 4, [2, 3, 5.5, 0.5])
    objective = build_objective({"ppo-clip": {"clip_low": 0.4, "clip_high": 0.4}, "is-mask": {}})
    assert objective(inputs).loss.item() == pytest.approx((-2.8 + 1.8 + 0 - 0.45) / 4)


def test_a_mask_may_stand_beside_a_weight_and_beside_weights_that_were_there(make_inputs: Make) -> None:
    # sample 0: product 2.25 is dropped; sample 1: w = 1.2, token weight .5
    given_weights = torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64)
    inputs = replace(weighted(make_inputs, [1.5, 1.5, 1.2], [0, 0, 1]), weights=given_weights)
    output = build_objective({"sequence-mask": {}, "tis": {}, "ppo-clip": {}})(inputs)
    assert torch.autograd.grad(output.loss, inputs.logprobs)[0].tolist() == pytest.approx([0, 0, -0.2])


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=8), st.integers(1, 3))
def test_factors_are_bounded_and_without_gradient(make_inputs: Make, drift: list[float], samples: int) -> None:
    ids = [i % samples for i in range(len(drift))]
    inputs = make_inputs([1.0] * len(drift), [1.0] * len(drift), ids, sampler_logprobs=[-2 - d for d in drift])
    bounds: list[tuple[Correction, float]] = [
        (TIS(), 2),
        (TIS(level="sequence"), 2),
        (ISMask(), 5),
        (SequenceMask(), 1),
        (GeometricMask(), 1),
    ]
    for correction, bound in bounds:
        factors, _ = correction.factors(inputs)
        assert not factors.requires_grad and factors.shape == inputs.logprobs.shape
        assert bool(((factors >= 0) & (factors <= bound)).all())


def test_where_trainer_and_sampler_agree_nothing_changes(make_inputs: Make) -> None:
    inputs = make_inputs([1.5, 0.5, 1.1], [1, -1, 2], [0, 0, 1])
    plain = build_objective({"ppo-clip": {}})(inputs).loss.item()
    for name in ("tis", "is-mask", "sequence-mask", "geometric-mask"):
        assert build_objective({"ppo-clip": {}, name: {}})(inputs).loss.item() == pytest.approx(plain)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("is-mask", {"low": 5}, "is-mask: 'low' 5.0 must be less than 'high' 5.0, or every token is dropped"),
        ("geometric-mask", {"low": 2}, "'low' 2.0 must be less than 'high' 1.01, or every sample is dropped"),
        ("tis", {"cap": 0}, "'cap': Input should be greater than 0"),
        ("tis", {"level": "group"}, "'level': Input should be 'token' or 'sequence'"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        losses.build(name, options)
