"""Intervals and tests for evaluation results. The unit is the question: average several attempts per question first.

Treating 4 questions x 4 attempts as 16 observations understates the error by 1.8 in the worked example of the tests. Two systems on the
same questions are compared by paired differences, which is far tighter than two separate intervals (Miller 2024, arXiv 2411.00640).
Intervals are 95 % two-sided unless `level` says otherwise. Everything is deterministic: resampling takes a seed. Quantiles are computed
here, without scipy.
"""

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_serializer, field_validator

__all__ = [
    "Difference",
    "Estimate",
    "benjamini_hochberg",
    "clustered_interval",
    "clustered_se",
    "crossed_bootstrap",
    "holm",
    "mcnemar",
    "mean_interval",
    "normal_quantile",
    "paired_bootstrap",
    "paired_difference",
    "paired_permutation",
    "pass_at_k",
    "pass_hat_k",
    "t_quantile",
    "wilson",
]


class Estimate(BaseModel):
    """A number that is printed for a comparison, with its interval and its n (invariant 10)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    low: float
    high: float
    n: int
    """Number of questions, not of attempts."""

    @field_validator("low", "high", mode="before")
    @classmethod
    def _unbounded(cls, value: object, info: ValidationInfo) -> object:
        """JSON has no infinity: a bound that does not exist is written as null and read back here."""
        return value if value is not None else -math.inf if info.field_name == "low" else math.inf

    @field_serializer("low", "high", when_used="json")
    def _finite(self, value: float) -> float | None:
        return value if math.isfinite(value) else None

    def __str__(self) -> str:
        """For example `0.600 [0.387, 0.781], n=20`."""
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}], n={self.n}"


class Difference(Estimate):
    """The mean of paired differences, first minus second, with the p-value of no difference."""

    p: float

    def __str__(self) -> str:
        """For example `+0.120 [+0.020, +0.220], n=100, p=0.021`."""
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}], n={self.n}, p={self.p:.3g}"


def normal_quantile(probability: float) -> float:
    """The standard normal quantile: the point below which a share `probability` lies."""
    return _bisect(lambda x: 0.5 * math.erfc(-x / math.sqrt(2.0)), probability)


def t_quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t distribution."""
    if degrees <= 0:
        raise ValueError(f"degrees of freedom must be positive, got {degrees}")
    return _bisect(lambda x: _t_cdf(x, degrees), probability)


def wilson(successes: float, n: int, *, level: float = 0.95) -> Estimate:
    """Wilson's score interval of a proportion: 12 of 20 gives 0.6 [0.387, 0.781], 0 of 20 gives 0 [0, 0.161].

    Raises:
        ValueError: n is not positive, or successes are outside 0 to n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a proportion")
    z = normal_quantile(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At 0 and n the bound is exactly 0 or 1; rounding must not put the mean outside its interval.
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(mean=share, low=0.0 if successes == 0 else low, high=1.0 if successes == n else high, n=n)


def mean_interval(values: Sequence[float], *, amounts: bool = False, level: float = 0.95) -> Estimate:
    """The mean of one value per question, with Student's t; Wilson's interval if every value is 0 or 1.

    A single value that is not a 0/1 score has no interval: its bounds are -inf and inf.

    Args:
        values: one per question.
        amounts: the values are counts or costs, so that Wilson's interval is wrong even if all happen to be 0 or 1.
        level: of the interval.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    x = _column(values)
    n = len(x)
    if not amounts and np.isin(x, (0.0, 1.0)).all():
        return wilson(float(x.sum()), n, level=level)
    return _t_interval(float(x.mean()), float(x.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf, n, n - 1, level)


def clustered_se(values: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """Standard error of the mean of values that are dependent within clusters: sqrt(C/(C-1) * sum_g (sum_i (x_i - m))^2) / N.

    Args:
        values: one per attempt.
        clusters: the question, or the document that several questions share, of each.

    Raises:
        ValueError: unequal lengths, or fewer than two clusters.
    """
    x = _column(values)
    if len(x) != len(clusters):
        raise ValueError(f"{len(x)} values but {len(clusters)} cluster labels")
    sums: dict[Hashable, float] = {}
    for value, cluster in zip(x - x.mean(), clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + float(value)
    count = len(sums)
    if count < 2:
        raise ValueError("a clustered standard error needs at least two clusters")
    return math.sqrt(count / (count - 1) * math.fsum(s * s for s in sums.values())) / len(x)


def clustered_interval(values: Sequence[float], clusters: Sequence[Hashable], *, level: float = 0.95) -> Estimate:
    """The mean with a clustered standard error and t with C - 1 degrees of freedom; n is the number of clusters."""
    error = clustered_se(values, clusters)
    count = len(set(clusters))
    return _t_interval(float(np.mean(values)), error, count, count - 1, level)


def paired_difference(a: Sequence[float], b: Sequence[float], *, level: float = 0.95) -> Difference:
    """Paired t: mean of a - b per question, with interval and two-sided p.

    If all differences are equal there is no spread to estimate: the interval is a point and p is that of flipping signs, 2^(1-n), or 1 if
    they are all 0.

    Args:
        a: one value per question.
        b: the other system's values, of the same questions in the same order.
        level: of the interval.

    Raises:
        ValueError: unequal lengths, or fewer than two questions.
    """
    d = _paired(a, b)
    n, mean = len(d), float(d.mean())
    error = float(d.std(ddof=1)) / math.sqrt(n)
    if error <= 1e-12 * abs(mean):
        return Difference(mean=mean, low=mean, high=mean, n=n, p=1.0 if mean == 0.0 else 2.0 ** (1 - n))
    interval = _t_interval(mean, error, n, n - 1, level)
    return Difference(mean=mean, low=interval.low, high=interval.high, n=n, p=2 * _t_cdf(-abs(mean) / error, n - 1))


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    *,
    seed: int,
    draws: int = 10_000,
    level: float = 0.95,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> Difference:
    """Percentile bootstrap over questions: both systems are recomputed on the same resample.

    p = 2 min(share d <= 0, share d >= 0), at least 1 / (draws + 1), at most 1.

    Args:
        a: one value per question.
        b: the other system's values, of the same questions in the same order.
        seed: of the resampling.
        draws: number of resamples.
        level: of the interval.
        statistic: maps [draws, questions] to [draws]; the mean by default.
    """
    first, second = _column(a), _column(b)
    observed = _paired(a, b)
    size = len(observed)
    measure = statistic or (lambda x: x.mean(axis=1))
    generator = np.random.default_rng(seed)
    parts = []
    # Blocks bound the memory at a few ten MB however many questions there are.
    block = max(1, 1_000_000 // size)
    for start in range(0, draws, block):
        rows = generator.integers(0, size, size=(min(block, draws - start), size))
        parts.append(measure(first[rows]) - measure(second[rows]))
    d = np.concatenate(parts)
    low, high = np.quantile(d, [0.5 - level / 2, 0.5 + level / 2])
    p = 2 * min(float((d <= 0).mean()), float((d >= 0).mean()))
    point = float(measure(first[None])[0] - measure(second[None])[0])
    return Difference(mean=point, low=float(low), high=float(high), n=size, p=min(1.0, max(p, 1 / (draws + 1))))


def crossed_bootstrap(differences: Sequence[Sequence[float]], *, seed: int, draws: int = 4_000, level: float = 0.95) -> Difference:
    """Bootstrap over two crossed factors at once, for runs with several seeds on the same questions: rows and columns are drawn apart.

    The pigeonhole bootstrap (Owen 2007, arXiv 0712.1111), which errs on the wide side where both factors matter. With few rows it knows
    little about rows: read it beside a t interval over them. p as in `paired_bootstrap`; n is the number of rows.

    Args:
        differences: [rows, columns], first minus second: a row for each seed, a column for each question.
        seed: of the resampling.
        draws: number of resamples.
        level: of the interval.

    Raises:
        ValueError: rows of unequal length, or fewer than two rows or columns.
    """
    if len({len(row) for row in differences}) != 1:
        raise ValueError("every row needs the same columns")
    table = np.stack([_column(row) for row in differences])
    rows, columns = table.shape
    if rows < 2 or columns < 2:
        raise ValueError("a crossed bootstrap needs at least two rows and two columns")
    generator = np.random.default_rng(seed)
    # How often each row and column is drawn; the mean of a resample is then a bilinear form.
    of_rows = generator.multinomial(rows, np.full(rows, 1 / rows), size=draws) / rows
    of_columns = generator.multinomial(columns, np.full(columns, 1 / columns), size=draws) / columns
    d = np.einsum("dr,dr->d", of_rows, of_columns @ table.T)
    low, high = np.quantile(d, [0.5 - level / 2, 0.5 + level / 2])
    p = 2 * min(float((d <= 0).mean()), float((d >= 0).mean()))
    return Difference(mean=float(table.mean()), low=float(low), high=float(high), n=rows, p=min(1.0, max(p, 1 / (draws + 1))))


def paired_permutation(a: Sequence[float], b: Sequence[float], *, seed: int, draws: int = 10_000) -> float:
    """Two-sided p of the mean difference when the sign of each question's difference may flip.

    Exact over all 2^n sign patterns where there are no more than `draws` of them; sampled otherwise, with the observed pattern counted in.
    """
    d = _paired(a, b)
    observed = abs(float(d.sum())) - 1e-12
    if 2 ** len(d) <= draws:
        patterns = (np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1
        return int((np.abs((2 * patterns - 1) @ d) >= observed).sum()) / len(patterns)
    signs = np.random.default_rng(seed).integers(0, 2, size=(draws, len(d)), dtype=np.int8) * 2 - 1
    return (int((np.abs(signs @ d) >= observed).sum()) + 1) / (draws + 1)


def mcnemar(a: Sequence[float], b: Sequence[float]) -> float:
    """Exact two-sided McNemar test of two systems with 0/1 results on the same questions: b=9, c=2 gives p = .065.

    Raises:
        ValueError: unequal lengths, or a value that is not 0 or 1.
    """
    first, second = _column(a), _column(b)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values are not pairs")
    if not (np.isin(first, (0.0, 1.0)).all() and np.isin(second, (0.0, 1.0)).all()):
        raise ValueError("McNemar's test is for results that are 0 or 1; use paired_difference or paired_permutation")
    only_a, only_b = int((first > second).sum()), int((second > first).sum())
    total = only_a + only_b
    tail = sum(math.comb(total, i) for i in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / (1 << total))


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Probability that at least one of k of the n attempts is right: 1 - C(n-c, k) / C(n, k), unbiased (arXiv 2107.03374)."""
    _check_attempts(n, correct, k)
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def pass_hat_k(n: int, correct: int, k: int) -> float:
    """Probability that all of k of the n attempts are right, pass^k of tau-bench: C(c, k) / C(n, k) (arXiv 2406.12045)."""
    _check_attempts(n, correct, k)
    return math.comb(correct, k) / math.comb(n, k)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: for a few planned comparisons."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = running
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values, in the given order: for exploration, bounds the false discovery rate."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i], reverse=True)
    adjusted, running = [0.0] * len(p_values), 1.0
    for step, index in enumerate(order):
        running = min(running, p_values[index] * len(p_values) / (len(p_values) - step))
        adjusted[index] = running
    return adjusted


def _column(values: Sequence[float]) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError("statistics need at least one value")
    if not np.isfinite(x).all():
        raise ValueError("statistics need finite values")
    return x


def _paired(a: Sequence[float], b: Sequence[float]) -> NDArray[np.float64]:
    first, second = _column(a), _column(b)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values are not pairs")
    if len(first) < 2:
        raise ValueError("a paired comparison needs at least two questions")
    return first - second


def _check_attempts(n: int, correct: int, k: int) -> None:
    if not (0 <= correct <= n and 1 <= k <= n):
        raise ValueError(f"{correct} correct of {n} attempts, k = {k}: need 0 <= correct <= n and 1 <= k <= n")


def _t_interval(mean: float, error: float, n: int, degrees: int, level: float) -> Estimate:
    half = t_quantile(0.5 + level / 2, degrees) * error if degrees > 0 else math.inf
    return Estimate(mean=mean, low=mean - half, high=mean + half, n=n)


def _bisect(cdf: Callable[[float], float], probability: float) -> float:
    """Invert an increasing distribution function that is symmetric about 0."""
    if not 0.0 < probability < 1.0:
        raise ValueError(f"a probability must lie strictly between 0 and 1, got {probability}")
    if probability < 0.5:
        return -_bisect(cdf, 1.0 - probability)
    low, high = 0.0, 1.0
    while cdf(high) < probability:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if cdf(middle) < probability else (low, middle)
    return high


def _t_cdf(x: float, degrees: float) -> float:
    tail = 0.5 * _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + x * x))
    return tail if x < 0 else 1.0 - tail


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Lentz's method)."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast only on this side
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1) or tiny)
    fraction = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for numerator in (even, odd):
            d = 1.0 / (1.0 + numerator * d or tiny)
            c = 1.0 + numerator / c or tiny
            step = c * d
            fraction *= step
        if abs(step - 1.0) < 1e-15:
            break
    return front * fraction
