"""Golden numbers from tables and by hand, then properties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.evals.statistics import (
    Difference,
    Estimate,
    benjamini_hochberg,
    clustered_interval,
    clustered_se,
    holm,
    mcnemar,
    mean_interval,
    paired_bootstrap,
    paired_difference,
    paired_permutation,
    pass_at_k,
    pass_hat_k,
    t_quantile,
    wilson,
)


@pytest.mark.parametrize(
    ("probability", "degrees", "value"),
    [  # printed tables of Student's t
        (0.975, 1, 12.7062),
        (0.975, 2, 4.3027),
        (0.975, 5, 2.5706),
        (0.975, 10, 2.2281),
        (0.975, 30, 2.0423),
        (0.975, 99, 1.9842),
        (0.975, 1e7, 1.95996),
        (0.95, 4, 2.1318),
        (0.995, 20, 2.8453),
        (0.9995, 3, 12.9240),
        (0.025, 10, -2.2281),
        (0.5, 7, 0.0),
    ],
)
def test_t_quantiles(probability: float, degrees: float, value: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(value, abs=5e-5)


@given(st.floats(0.001, 0.999))
def test_two_degrees_of_freedom_have_a_closed_form(p: float) -> None:
    # t = (2p - 1) / sqrt(2 p (1 - p))
    assert t_quantile(p, 2) == pytest.approx((2 * p - 1) / math.sqrt(2 * p * (1 - p)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(12, 20, 0.387, 0.781), (0, 20, 0.0, 0.161), (20, 20, 0.839, 1.0), (1, 1, 0.207, 1.0), (63, 125, 0.418, 0.590)],
)
def test_wilson(k: int, n: int, low: float, high: float) -> None:
    estimate = wilson(k, n)
    assert (estimate.mean, estimate.n) == (k / n, n)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=6e-4)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_mean_and_mirrors(pair: tuple[int, int]) -> None:
    k, n = pair
    estimate, mirrored = wilson(k, n), wilson(n - k, n)
    assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1
    assert estimate.low == pytest.approx(1 - mirrored.high, abs=1e-12)


def test_mean_interval_by_hand() -> None:
    # .2, .4, .9: mean .5, s = sqrt((.09 + .01 + .16) / 2) = .360555, se .208167, t(.975, 2) = 4.302653 -> half .895670
    estimate = mean_interval([0.2, 0.4, 0.9])
    assert (estimate.mean, estimate.low, estimate.high, estimate.n) == pytest.approx((0.5, -0.395670, 1.395670, 3), abs=1e-5)


def test_zeros_and_ones_take_wilson_unless_they_are_amounts() -> None:
    assert mean_interval([1.0] * 12 + [0.0] * 8) == wilson(12, 20)
    # Every question took exactly one call: there is no ceiling at 1, and no spread either.
    assert mean_interval([1.0, 1.0, 1.0], amounts=True) == Estimate(mean=1, low=1, high=1, n=3)


def test_one_value_has_no_interval_and_survives_json() -> None:
    estimate = mean_interval([0.4])
    assert (estimate.low, estimate.high) == (-math.inf, math.inf)
    assert estimate.model_dump(mode="json") == {"mean": 0.4, "low": None, "high": None, "n": 1}
    assert Estimate.model_validate_json(estimate.model_dump_json()) == estimate


def test_attempts_are_not_questions() -> None:
    # Four questions, four attempts each, means 1, 0, .75, .25: naive .129, clustered .228 = that of the question means.
    attempts = [1] * 4 + [0] * 4 + [1, 1, 1, 0] + [1, 0, 0, 0]
    questions = [i // 4 for i in range(16)]
    naive = math.sqrt(16 * 0.25 / 15) / 4
    assert naive == pytest.approx(0.129, abs=5e-4)
    assert clustered_se(attempts, questions) == pytest.approx(0.228, abs=5e-4)
    means = [1, 0, 0.75, 0.25]
    assert clustered_se(attempts, questions) == pytest.approx(math.sqrt(sum((m - 0.5) ** 2 for m in means) / 3) / 2)
    by_cluster, by_mean = clustered_interval(attempts, questions), mean_interval(means)
    assert by_cluster.n == 4 and by_cluster.low == pytest.approx(by_mean.low)


def test_paired_difference_by_hand() -> None:
    # d = .1, .3, .2, 0: mean .15, s = .129099, se .0645497, t = 2.323790, p(3 df) = .102759; t(.975, 3) = 3.182446
    difference = paired_difference([0.5, 0.8, 0.9, 0.4], [0.4, 0.5, 0.7, 0.4])
    assert (difference.mean, difference.n) == (pytest.approx(0.15), 4)
    assert difference.high - difference.mean == pytest.approx(3.182446 * 0.0645497, abs=1e-6)
    assert difference.p == pytest.approx(0.1028, abs=1e-4)


def test_equal_differences() -> None:
    assert paired_difference([1, 0, 1], [1, 0, 1]) == Difference(mean=0, low=0, high=0, n=3, p=1)
    # all three better by the same: 2 of 8 sign patterns are as extreme
    assert paired_difference([1, 1, 1], [0, 0, 0]).p == 0.25


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=10))
def test_a_paired_interval_excludes_zero_exactly_when_p_is_small(pairs: list[tuple[float, float]]) -> None:
    d = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    if d.low < d.high and min(abs(d.low), abs(d.high), abs(d.p - 0.05)) > 1e-9:
        assert (d.p < 0.05) == (d.low > 0 or d.high < 0)


def test_paired_bootstrap_agrees_with_the_t_interval_and_repeats() -> None:
    a = [((i * 37) % 101) / 100 for i in range(200)]
    b = [((i * 37) % 101) / 100 - ((i * 17) % 31) / 300 for i in range(200)]
    boot, exact = paired_bootstrap(a, b, seed=1), paired_difference(a, b)
    assert boot.mean == pytest.approx(exact.mean)
    assert (boot.low, boot.high) == pytest.approx((exact.low, exact.high), abs=1e-3)
    assert boot == paired_bootstrap(a, b, seed=1) != paired_bootstrap(a, b, seed=2)
    assert boot.p == pytest.approx(1 / 10_001)  # every resample has a above b


def test_the_bootstrap_recomputes_both_sides_on_the_same_draw() -> None:
    a = [1.0, 5.0, 2.0, 8.0]
    same = paired_bootstrap(a, a, seed=0, draws=500, statistic=lambda x: x.max(axis=1) / x.sum(axis=1))
    assert same == Difference(mean=0, low=0, high=0, n=4, p=1)


def test_permutation_is_exact_when_small_and_close_when_sampled() -> None:
    # d = 1, 1, 1, 1: two of sixteen patterns
    assert paired_permutation([1, 1, 1, 1], [0, 0, 0, 0], seed=0) == 2 / 16
    # d = 1, 1, -1: |sum| >= 1 always
    assert paired_permutation([1, 1, 0], [0, 0, 1], seed=0) == 1.0
    a, b = [1.0] * 12, [0.0] * 9 + [2.0] * 3
    exact = paired_permutation(a, b, seed=0)
    # 9 of 12 or more of one sign: 2 (220 + 66 + 12 + 1) / 4096
    assert exact == pytest.approx(598 / 4096)
    assert paired_permutation(a, b, seed=3, draws=4000) == pytest.approx(exact, abs=0.02)


def test_mcnemar() -> None:
    # b = 9, c = 2: 2 (1 + 11 + 55) / 2048 = .0654
    a, b = [1] * 9 + [0] * 2 + [1] * 5 + [0] * 4, [0] * 9 + [1] * 2 + [1] * 5 + [0] * 4
    assert mcnemar(a, b) == pytest.approx(134 / 2048) == mcnemar(b, a)
    assert mcnemar([1, 0], [1, 0]) == 1.0
    with pytest.raises(ValueError, match="0 or 1"):
        mcnemar([0.5, 1], [0, 1])


def test_pass_at_k_and_pass_hat_k() -> None:
    assert pass_at_k(5, 2, 3) == pytest.approx(0.9)  # 1 - C(3,3)/C(5,3)
    assert pass_at_k(5, 3, 3) == 1.0
    assert pass_hat_k(5, 4, 3) == pytest.approx(0.4)  # C(4,3)/C(5,3)
    assert pass_hat_k(5, 2, 3) == 0.0
    for c in range(6):
        assert pass_at_k(5, c, 1) == pytest.approx(c / 5) == pass_hat_k(5, c, 1)
    with pytest.raises(ValueError, match="1 <= k <= n"):
        pass_at_k(3, 1, 4)


def test_holm_and_benjamini_hochberg_by_hand() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    # Holm, sorted .005 * 4, .01 * 3, .03 * 2, .04 * 1, running max: .02, .03, .06, .06
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # BH, sorted .005 * 4/1, .01 * 4/2, .03 * 4/3, .04 * 4/4, running min from the end: .02, .02, .04, .04
    assert benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert holm([]) == benjamini_hochberg([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_adjusted_p_values_are_never_smaller_and_holm_is_stricter(p: list[float]) -> None:
    for raw, fdr, fwer in zip(p, benjamini_hochberg(p), holm(p), strict=True):
        assert raw - 1e-12 <= fdr <= fwer + 1e-12 <= 1 + 2e-12


def test_estimates_are_printed_with_interval_and_n() -> None:
    assert str(wilson(12, 20)) == "0.600 [0.387, 0.781], n=20"
    assert str(Difference(mean=0.12, low=0.02, high=0.22, n=100, p=0.021)) == "+0.120 [+0.020, +0.220], n=100, p=0.021"


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([])
    with pytest.raises(ValueError, match="finite"):
        mean_interval([0.1, math.nan])
    with pytest.raises(ValueError, match="not pairs"):
        paired_difference([1, 2], [1])
    with pytest.raises(ValueError, match="at least two questions"):
        paired_difference([1], [0])
    with pytest.raises(ValueError, match="3 of 2 is not a proportion"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="at least two clusters"):
        clustered_se([1, 0], ["q", "q"])
