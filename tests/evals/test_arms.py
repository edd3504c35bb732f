"""Paired seeds by hand, and where a verdict turns."""

import math

import pytest

from spadework.core.errors import InputError
from spadework.evals.arms import arm_effects, arm_figures
from spadework.evals.metrics import Question
from spadework.evals.statistics import crossed_bootstrap


def questions(solved: int, of: int = 10, calls: float = 2.0) -> list[Question]:
    """`of` questions, the first `solved` of them right."""
    return [
        Question(
            id=f"q{i}", hops=1, attempts=1, scored=1, truncated=0.0, broken=0.0, success=float(i < solved), calls=calls, tokens=30.0,
            evidence_recall=0.5,
        )
        for i in range(of)
    ]  # fmt: skip


def test_the_t_interval_over_seeds_by_hand() -> None:
    # Success per seed: base 0.4 0.5 0.3, arm 0.6 0.6 0.6; differences 0.2 0.1 0.3: mean 0.2, sd 0.1, se 0.1/sqrt(3) = 0.057735.
    # t(0.975, 2) = 4.302653: half-width 0.248414.
    base = {1: questions(4), 2: questions(5), 3: questions(3)}
    arm = {1: questions(6), 2: questions(6), 3: questions(6)}
    effect = arm_effects({"base": base, "arm": arm}, "base")["arm"]
    success = effect.differences["success"]
    assert (success.mean, success.n) == (pytest.approx(0.2), 3)
    assert success.low == pytest.approx(0.2 - 0.248414, abs=1e-5) and success.high == pytest.approx(0.2 + 0.248414, abs=1e-5)
    # t = 0.2 / 0.057735 = 3.4641, two degrees: p = 1 - t / sqrt(2 + t^2) = 1 - 3.4641 / 3.7417 = 0.0742.
    assert success.p == pytest.approx(0.0742, abs=1e-4) and effect.p == success.p and effect.verdict == "none"
    # t(0.8, 2) = 1.060660: (4.302653 + 1.060660) * 0.057735 = 0.309651.
    assert effect.detectable == pytest.approx(0.309651, abs=1e-5)
    assert effect.differences["calls"].mean == 0
    # 20 calls for 4 solved questions and so on: 5, 4, 20/3 against 20/6.
    assert effect.differences["calls_per_solved"].mean == pytest.approx(10 / 3 - (5 + 4 + 20 / 3) / 3)


@pytest.mark.parametrize(("shift", "verdict"), [(3, "above"), (-3, "below")])
def test_a_difference_beyond_the_spread_is_a_verdict(shift: int, verdict: str) -> None:
    # Differences 0.3 0.3 0.3 0.4 (signs as the shift): mean 0.325, sd 0.05, se 0.025, t = 13 with 3 degrees, p = 0.001.
    base = {seed: questions(5) for seed in range(4)}
    arm = {seed: questions(5 + shift + (seed == 3) * (1 if shift > 0 else -1)) for seed in range(4)}
    effect = arm_effects({"base": base, "arm": arm}, "base")["arm"]
    assert effect.verdict == verdict and abs(effect.differences["success"].mean) == pytest.approx(0.325)


def test_seeds_that_agree_exactly_are_no_proof() -> None:
    # Without a spread p is that of flipping signs: 2^(1-5) = 0.0625 for five seeds, 2^(1-6) = 0.031 for six.
    def effect(seeds: int) -> str:
        arms = {"base": {seed: questions(4) for seed in range(seeds)}, "arm": {seed: questions(6) for seed in range(seeds)}}
        found = arm_effects(arms, "base")["arm"]
        assert found.detectable is None
        return found.verdict

    assert (effect(5), effect(6)) == ("none", "above")


def test_several_arms_pay_for_being_several() -> None:
    # Differences 0.3 0.1 0.2 0.2 (mean 0.2, se 0.0408, t = 4.90): p = 0.0163 alone, 4 x 0.0163 among four.
    base = {seed: questions(4) for seed in range(4)}
    good = dict(enumerate([questions(7), questions(5), questions(6), questions(6)]))
    alone = arm_effects({"base": base, "good": good}, "base")["good"]
    assert alone.p == pytest.approx(0.0163, abs=1e-4) and alone.verdict == "above"
    crowd = arm_effects({"base": base, "good": good, **{name: dict(base) for name in "abc"}}, "base")
    assert crowd["good"].p == pytest.approx(4 * alone.p) and crowd["good"].verdict == "none"
    assert crowd["a"].verdict == "none"


def test_figures_of_an_arm() -> None:
    figures = arm_figures({1: questions(4, calls=3.0), 2: questions(0)})
    # 0.4 and 0: mean 0.2, se 0.2, t(0.975, 1) = 12.7062; shares of seeds are no counts, so no Wilson interval even for 0 and 1.
    assert figures["success"] is not None and figures["success"].high == pytest.approx(0.2 + 12.7062 * 0.2, abs=1e-3)
    assert figures["calls"] is not None and figures["calls"].mean == 2.5
    assert figures["calls_per_solved"] is None, "a seed that solved nothing has no calls per solved question"


def test_bad_arms() -> None:
    one = {1: questions(1)}
    with pytest.raises(InputError, match="at least two seeds"):
        arm_effects({"base": one, "arm": one}, "base")
    two = {1: questions(1), 2: questions(1)}
    with pytest.raises(InputError, match="other seeds"):
        arm_effects({"base": two, "arm": one}, "base")
    with pytest.raises(InputError, match="seed 2: judged on other questions"):
        arm_effects({"base": two, "arm": {1: questions(1), 2: questions(1, of=9)}}, "base")


def test_the_crossed_bootstrap_sees_both_kinds_of_spread() -> None:
    # Nothing varies: a point.
    same = crossed_bootstrap([[0.5] * 4] * 3, seed=0)
    assert (same.mean, same.low, same.high) == (0.5, 0.5, 0.5)
    # Only questions vary: sd of the mean is sqrt(0.25 / 100) = 0.05, so about 0.5 -+ 0.098.
    questions_vary = crossed_bootstrap([[0.0, 1.0] * 50] * 3, seed=0)
    assert questions_vary.low == pytest.approx(0.402, abs=0.02) and questions_vary.high == pytest.approx(0.598, abs=0.02)
    # Only seeds vary, 0 and 1 four times each: sd sqrt(0.25 / 8) = 0.177.
    seeds_vary = crossed_bootstrap([[float(seed % 2)] * 100 for seed in range(8)], seed=0)
    assert seeds_vary.high - seeds_vary.low == pytest.approx(2 * 1.96 * 0.177, abs=0.1)
    both = crossed_bootstrap([[float((seed + q) % 2) for q in range(3)] for seed in range(3)], seed=0)
    assert both.n == 3 and math.isclose(both.mean, 4 / 9)
    with pytest.raises(ValueError, match="same columns"):
        crossed_bootstrap([[1.0, 2.0], [1.0]], seed=0)
    with pytest.raises(ValueError, match="at least two"):
        crossed_bootstrap([[1.0, 2.0]], seed=0)
