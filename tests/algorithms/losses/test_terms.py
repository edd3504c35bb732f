"""What is added to a surrogate: every branch by hand, against autograd, and the exact gradients of a small distribution."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from spadework.algorithms.losses.echo import ECHO
from spadework.algorithms.losses.entropy_bonus import EntropyBonus
from spadework.algorithms.losses.entropy_corridor import EntropyCorridor
from spadework.algorithms.losses.failure_kl import FailureKL
from spadework.algorithms.losses.kl import KL, Estimator, estimate_kl
from spadework.algorithms.losses.loss import LossInputs, Term, losses
from spadework.algorithms.losses.ppo_clip import PPOClip
from spadework.algorithms.losses.value import value_loss
from spadework.core.errors import ConfigError

torch.set_num_threads(1)

Make = Callable[..., LossInputs]


def share(term: Term, inputs: LossInputs, **surrogate: Any) -> Tensor:
    return term(inputs, lambda values: PPOClip(**surrogate).average(values, inputs))


def gradient(loss: Tensor, column: Tensor | None) -> list[float]:
    assert column is not None
    return torch.autograd.grad(loss, column)[0].tolist()


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize(
    ("estimator", "value", "slope"),
    # log pi = -2, log ref = -2 - ln 2, so d = -ln 2; k1 = ln 2; k2 = ln^2 2 / 2; k3 = 1/2 - 1 + ln 2; slopes 1, -d, 1 - e^d
    [("k1", math.log(2), 1), ("k2", math.log(2) ** 2 / 2, math.log(2)), ("k3", math.log(2) - 0.5, 0.5)],
)
def test_kl_by_hand(make_inputs: Make, estimator: Estimator, value: float, slope: float) -> None:
    inputs = make_inputs([1.0, 1.0], [0, 0], [0, 1], reference_logprobs=[-2 - math.log(2), -2])
    loss = share(KL(estimator=estimator), inputs)
    assert loss.item() == pytest.approx(value / 2)
    # where policy and reference agree only k1 has a gradient
    assert gradient(loss, inputs.logprobs) == pytest.approx([slope / 2, 0.5 if estimator == "k1" else 0])


def test_the_mean_gradients_of_the_estimators_are_what_their_page_says() -> None:
    # exact expectation over four outcomes: k1 nothing, k2 grad KL(pi, ref), k3 grad KL(ref, pi)
    logits = torch.tensor([0.3, -0.2, 0.9, 0.0], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.0, 0.5, -0.4, 0.2], dtype=torch.float64).log_softmax(0)
    policy = logits.log_softmax(0)

    def mean_gradient(estimator: Estimator) -> Tensor:
        return torch.autograd.grad((policy.exp().detach() * estimate_kl(policy, reference, estimator)).sum(), logits, retain_graph=True)[0]

    forward = torch.autograd.grad((policy.exp() * (policy - reference)).sum(), logits, retain_graph=True)[0]
    backward = torch.autograd.grad((reference.exp() * (reference - policy)).sum(), logits, retain_graph=True)[0]
    torch.testing.assert_close(mean_gradient("k1"), torch.zeros_like(forward), atol=1e-12, rtol=0)
    torch.testing.assert_close(mean_gradient("k2"), forward)
    torch.testing.assert_close(mean_gradient("k3"), backward)


def test_kl_is_averaged_as_the_surrogate_is(make_inputs: Make) -> None:
    # k2 of the three tokens: 2, 0, .5; per token 2.5 / 3; per sample (1 + .5) / 2; by a constant 2.5 / (2 * 5)
    inputs = make_inputs([1.0] * 3, [0] * 3, [0, 0, 1], reference_logprobs=[-4, -2, -1])
    kl = KL(estimator="k2")
    assert share(kl, inputs).item() == pytest.approx(2.5 / 3)
    assert share(kl, inputs, aggregation="seq-mean-token-mean").item() == pytest.approx(0.75)
    assert share(kl, inputs, aggregation="constant", length=5).item() == pytest.approx(0.25)


def test_failure_kl_by_hand(make_inputs: Make) -> None:
    # d = 1 everywhere; rewards 0, 1, -1, .5: the first and the third have failed; k2 = 1/2, gradient -d / 4
    inputs = make_inputs([1.0] * 4, [0] * 4, [0, 1, 2, 3], teacher_logprobs=[-1.0] * 4, rewards=[0.0, 1, -1, 0.5])
    loss = share(FailureKL(), inputs)
    assert loss.item() == pytest.approx(2 * 0.5 / 4)
    assert gradient(loss, inputs.logprobs) == pytest.approx([-0.25, 0, -0.25, 0])
    assert share(FailureKL(failure=0.5), inputs).item() == pytest.approx(3 * 0.5 / 4)
    # k3 = e - 2
    assert share(FailureKL(estimator="k3"), inputs).item() == pytest.approx(2 * (math.e - 2) / 4)


def test_entropy_bonus_by_hand(make_inputs: Make) -> None:
    inputs = make_inputs([1.0, 1.0], [0, 0], [0, 0], entropy=column(0.5, 1.5))
    loss = share(EntropyBonus(), inputs)
    assert loss.item() == pytest.approx(-1)
    assert gradient(loss, inputs.entropy) == pytest.approx([-0.5, -0.5])


def test_entropy_corridor_by_hand(make_inputs: Make) -> None:
    # history 2: corridor 1 to 3. Means .25 (below by .75), 2 (inside), 5 (above by 2); tokens 2, 2, 1 of 5
    inputs = make_inputs([1.0] * 5, [0] * 5, [0, 0, 1, 1, 2], entropy=column(0, 0.5, 0.5, 3.5, 5), entropy_history=2.0)
    loss = share(EntropyCorridor(), inputs)
    assert loss.item() == pytest.approx((2 * 0.75 + 0 + 2) / 5)
    # a raise of either token of the first sample by 1 raises its mean by 1/2, which counts twice
    assert gradient(loss, inputs.entropy) == pytest.approx([-0.2, -0.2, 0, 0, 0.2])
    assert share(EntropyCorridor(high=2.5), inputs).item() == pytest.approx((1.5 + 0) / 5)


def test_echo_by_hand(make_inputs: Make) -> None:
    # three of the step's five observation tokens are here; policy tokens have no part in it
    inputs = make_inputs([1.0, 1.0], [0, 0], [0, 0], observations=column(-1, -2, -0.5), num_observations=5)
    loss = share(ECHO(), inputs)
    assert loss.item() == pytest.approx(3.5 / 5)
    assert gradient(loss, inputs.observations) == pytest.approx([-0.2] * 3)
    nothing = replace(inputs, observations=column(), num_observations=0)
    assert share(ECHO(), nothing).item() == 0


def test_value_by_hand() -> None:
    # return 1 everywhere. V .2 from .1: within .5: .8^2 / 2 = .32, gradient -.8. V .9 from .1: clipped to .6, whose error .4 is larger:
    # .08, no gradient. V 3 from 1: clipped to 1.5; the free error 2 is larger: 2, gradient 2.
    values, old, returns = column(0.2, 0.9, 3), torch.tensor([0.1, 0.1, 1.0]), torch.ones(3)
    loss, cut = value_loss(values, old, returns, clip=0.5)
    assert loss.tolist() == pytest.approx([0.32, 0.08, 2]) and cut.tolist() == [False, True, False]
    assert gradient(loss.sum(), values) == pytest.approx([-0.8, 0, 2])
    # without a clip, or with a wide one, it is the square alone
    for clip in (None, 100.0):
        loss, cut = value_loss(values, old, returns, clip)
        assert loss.tolist() == pytest.approx([0.32, 0.005, 2]) and not cut.any()


def test_gradcheck(make_inputs: Make) -> None:
    inputs = make_inputs(
        [1.2, 0.7, 1.1], [0] * 3, [0, 0, 1], reference_logprobs=[-2.5, -1.0, -2.2], teacher_logprobs=[-1.5, -2.0, -3.0], rewards=[0.0, 0, 1]
    )
    for term in (KL(), KL(estimator="k1"), KL(estimator="k2"), FailureKL(), FailureKL(estimator="k3")):
        assert torch.autograd.gradcheck(lambda logprobs, term=term: share(term, replace(inputs, logprobs=logprobs)), (inputs.logprobs,))
    corridor = EntropyCorridor()

    def penalty(entropy: Tensor) -> Tensor:
        return share(corridor, replace(inputs, entropy=entropy, entropy_history=1.0))

    assert torch.autograd.gradcheck(penalty, (column(0.1, 0.3, 2.5),))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kl", {"coef": 0}, "'coef': Input should be greater than 0"),
        ("kl", {"estimator": "k4"}, "'estimator': Input should be 'k1', 'k2' or 'k3'"),
        ("failure-kl", {"estimator": "k1"}, "'estimator': Input should be 'k2' or 'k3'"),
        ("entropy-corridor", {"low": 2}, "entropy-corridor: 'low' 2.0 must be less than 'high' 1.5"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        losses.build(name, options)
