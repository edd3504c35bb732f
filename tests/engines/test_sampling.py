"""Sampling: the numbers are uniform and belong to a request alone; the draw is the inverse of the cumulative distribution."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from spadework.engines.engine import SamplingParams
from spadework.engines.sampling import sample, uniforms


def numbers(seeds: list[int], positions: list[int]) -> np.ndarray:
    return uniforms(np.array(seeds, np.uint64), np.array(positions, np.uint64))


@given(st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 10**6)), min_size=1, max_size=20))
def test_a_number_depends_on_its_own_seed_and_position_alone(pairs: list[tuple[int, int]]) -> None:
    together = numbers([s for s, _ in pairs], [p for _, p in pairs])
    assert ((together >= 0) & (together < 1)).all()
    assert together.tolist() == [numbers([s], [p])[0] for s, p in pairs]


@pytest.mark.parametrize("along", ["seeds", "positions"])
def test_numbers_are_roughly_uniform_and_unrelated(along: str) -> None:
    count = 20_000
    varied, fixed = list(range(count)), [3] * count
    x = numbers(varied, fixed) if along == "seeds" else numbers(fixed, varied)
    counts = np.bincount((x * 50).astype(int), minlength=50)
    # Chi-square with 49 degrees of freedom: 99.99 % of it is below 95.
    assert ((counts - count / 50) ** 2 / (count / 50)).sum() < 95
    for lag in (1, 2, 7):
        assert abs(np.corrcoef(x[:-lag], x[lag:])[0, 1]) < 4 / math.sqrt(count)
    assert len(set(x.tolist())) == count


def test_neighbouring_requests_do_not_share_shifted_numbers() -> None:
    streams = [numbers([seed] * 50, list(range(50))).tolist() for seed in range(50)]
    assert len({x for stream in streams for x in stream}) == 2500


LOGITS = torch.tensor([[math.log(w) for w in (0.1, 0.4, 0.2, 0.3)]])


def draw(number: float, **options: float | int) -> tuple[int, float, float]:
    token, logprob, entropy = sample(LOGITS, [SamplingParams.model_validate(options)], np.array([number]))
    return int(token), float(logprob), float(entropy)


def test_the_draw_inverts_the_cumulative_distribution() -> None:
    # Cumulative: 0.1, 0.5, 0.7, 1.
    assert [draw(u)[0] for u in (0.0, 0.09, 0.11, 0.49, 0.51, 0.69, 0.71, 0.999)] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_top_k_and_top_p_by_hand() -> None:
    # The two best, 0.4 and 0.3, share 0.7: up to 4/7 = 0.571 it is token 1, then token 3.
    assert [draw(u, top_k=2)[0] for u in (0.0, 0.57, 0.573, 0.999)] == [1, 1, 3, 3]
    # 0.4 does not reach 0.65, 0.4 + 0.3 does; 0.4 + 0.3 does not reach 0.75, so the third best stays too.
    assert {draw(u, top_p=0.65)[0] for u in np.linspace(0, 0.99, 50)} == {1, 3}
    assert {draw(u, top_p=0.75)[0] for u in np.linspace(0, 0.99, 50)} == {1, 2, 3}
    assert {draw(u, top_p=0.75, top_k=1)[0] for u in np.linspace(0, 0.99, 20)} == {1}
    assert {draw(u, top_p=1e-9)[0] for u in np.linspace(0, 0.99, 20)} == {1}, "the best always stays"


def test_figures_are_of_the_whole_distribution_at_the_temperature() -> None:
    entropy = -sum(p * math.log(p) for p in (0.1, 0.4, 0.2, 0.3))
    for options in ({}, {"top_k": 1}, {"top_p": 0.1}, {"temperature": 0}):
        assert draw(0.2, **options) == (1, approx(math.log(0.4)), approx(entropy))
    # At temperature 1/2 the weights are squared: 0.01, 0.16, 0.04, 0.09 of 0.3.
    squared = [w / 0.3 for w in (0.01, 0.16, 0.04, 0.09)]
    assert draw(0.03, temperature=0.5) == (0, approx(math.log(squared[0])), approx(-sum(p * math.log(p) for p in squared)))


def test_rows_keep_their_own_settings() -> None:
    params = [
        SamplingParams(temperature=0.0),
        SamplingParams(),
        SamplingParams(temperature=0.5),
        SamplingParams(top_k=1),
        SamplingParams(temperature=2.0, top_p=0.6),
    ]
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(5, 300, generator=generator)
    u = numbers([5] * 5, list(range(5)))
    together = sample(logits, params, u)
    for row in range(5):
        alone = sample(logits[row : row + 1], params[row : row + 1], u[row : row + 1])
        for mine, theirs in zip(together, alone, strict=True):
            assert torch.equal(mine[row : row + 1], theirs)


def test_frequencies_are_the_probabilities() -> None:
    count = 20_000
    u = numbers(list(range(count)), [0] * count)
    for options, weights in (
        ({}, [0.1, 0.4, 0.2, 0.3]),
        ({"top_p": 0.75}, [0, 4 / 9, 2 / 9, 3 / 9]),
        ({"temperature": 0.5}, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
    ):
        tokens, _, _ = sample(LOGITS.expand(count, -1), [SamplingParams.model_validate(options)] * count, u)
        seen = Counter(tokens.tolist())
        for token, weight in enumerate(weights):
            assert seen[token] == approx(count * weight, abs=4.5 * math.sqrt(count * weight * (1 - weight)) + 1e-9)


def test_the_largest_number_does_not_reach_a_token_that_may_not_be_sampled() -> None:
    # 1 - 2**-53 is 1 in float32; the last token is left out by top-k, or has no probability at all.
    last = 1 - 2.0**-53
    assert draw(last, top_k=1)[0] == 1
    tokens, _, _ = sample(torch.tensor([[1.0, 2.0, -torch.inf]]), [SamplingParams()], np.array([last]))
    assert tokens.tolist() == [1]


def test_top_p_1_leaves_nothing_out_even_where_rounding_reaches_1() -> None:
    # Without the rare token 0 the probabilities already sum to 1 in float32; only a number below 1e-9 draws it.
    logits = torch.tensor([[math.log(1e-9), 0.0]]).expand(2, -1)
    number = np.array([1e-10, 1e-10])
    assert sample(logits[:1], [SamplingParams()], number[:1])[0].tolist() == [0]
    assert sample(logits, [SamplingParams(), SamplingParams(top_p=0.5)], number)[0].tolist() == [0, 1]
