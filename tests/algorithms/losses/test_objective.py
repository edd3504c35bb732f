"""One surrogate, corrections and terms together: the sum by hand, micro-batches, and every refusal."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spadework.algorithms.losses.loss import LossInputs, Surrogate, losses
from spadework.algorithms.losses.objective import build_objective
from spadework.algorithms.losses.ppo_clip import PPOClip
from spadework.core.errors import ConfigError

torch.set_num_threads(1)

Make = Callable[..., LossInputs]
CORRECTIONS = ("tis", "is-mask", "sequence-mask", "geometric-mask")
TERMS = ("kl", "failure-kl", "entropy-bonus", "entropy-corridor", "echo")
SURROGATES = ("aepo", "cispo", "gmpo", "gspo", "ppo-clip", "sequence-clip")


def test_a_surrogate_alone_is_itself(make_inputs: Make) -> None:
    inputs = make_inputs([1.5, 0.5, 1.1], [1, -1, 2], [0, 0, 1])
    objective = build_objective({"ppo-clip": {"aggregation": "seq-mean-token-mean"}})
    alone = PPOClip(aggregation="seq-mean-token-mean")(inputs)
    assert objective.needs == frozenset()
    assert objective(inputs).loss.item() == alone.loss.item()
    assert objective(inputs).metrics == alone.metrics | {"actor/loss": alone.loss.item()}


def test_the_sum_by_hand(make_inputs: Make) -> None:
    # surrogate: -1 * w 2 (capped) and 1 * w 1, mean -.5; KL k3 with d = ln 2: 2 - 1 - ln 2 at the second token, not weighted by w; ECHO 1
    inputs = make_inputs(
        [1.0, 1.0], [1, -1], [0, 1], [3, 1], reference_logprobs=[-2, -2 + math.log(2)], observations=[-1.0], num_observations=1
    )
    output = build_objective({"kl": {"coef": 0.1}, "tis": {}, "echo": {"coef": 0.5}, "ppo-clip": {}})(inputs)
    kl = (1 - math.log(2)) / 2
    assert output.loss.item() == pytest.approx(-0.5 + 0.1 * kl + 0.5)
    assert output.metrics["actor/pg_loss"] == pytest.approx(-0.5)
    assert output.metrics["actor/kl_loss"] == pytest.approx(kl)
    assert output.metrics["actor/echo_loss"] == pytest.approx(1)
    assert output.metrics["rollout_corr/tis_mean"] == pytest.approx(1.5)
    assert output.metrics["actor/loss"] == pytest.approx(output.loss.item())
    # -A w / 2 for the surrogate, and .1 (1 - e^d) / 2 for the KL
    assert torch.autograd.grad(output.loss, inputs.logprobs)[0].tolist() == pytest.approx([-1, 0.5 - 0.05])


def test_needs_are_those_of_all_parts(make_inputs: Make) -> None:
    objective = build_objective({"gspo": {}, "tis": {}, "failure-kl": {}, "entropy-corridor": {}})
    assert objective.needs == {"teacher_logprobs", "rewards", "entropy", "entropy_history"}
    with pytest.raises(ValueError, match="the objective needs entropy, which the learner did not supply"):
        objective(make_inputs([1.0], [1], [0]))


def test_every_registered_part_is_one_of_the_three_kinds_and_needs_only_columns() -> None:
    assert losses.names() == sorted({*CORRECTIONS, *TERMS, *SURROGATES})
    assert [name for name in losses.names() if issubclass(losses.get(name), Surrogate)] == sorted(SURROGATES)
    for name in losses.names():
        assert losses.get(name).needs <= set(LossInputs.__slots__)


@pytest.mark.parametrize("surrogate", SURROGATES)
@settings(max_examples=40)
@given(data=st.data())
def test_micro_batches_add_up_to_the_big_batch(surrogate: str, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=6))
    cut = data.draw(st.integers(1, len(lengths) - 1))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    how = data.draw(st.sampled_from([{"aggregation": "token-mean"}, {"aggregation": "seq-mean-token-mean"}]))
    spec: dict[str, dict[str, Any]] = {
        surrogate: how,
        data.draw(st.sampled_from(["tis", "is-mask"])): {},
        "sequence-mask": {"low": 0.1, "high": 9},
        "geometric-mask": {"low": 0.3, "high": 3},
    }
    objective = build_objective(spec | {name: {} for name in TERMS})
    total = sum(lengths)
    names = ["old_logprobs", "sampler_logprobs", "advantages", "entropies", "reference_logprobs", "teacher_logprobs"]
    names += ["rewards", "entropy", "weights"]
    columns = {name: torch.randn(total, generator=generator, dtype=torch.float64) for name in ["logprobs", *names]}
    columns["entropy"] = columns["entropy"].abs()
    observations = torch.randn(total + 3, generator=generator, dtype=torch.float64)
    sequence_ids = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    leaves = [columns["logprobs"].requires_grad_(), columns["entropy"].requires_grad_()]
    leaves.append(observations.requires_grad_())

    def part(first: int, last: int) -> LossInputs:
        start, stop = sum(lengths[:first]), sum(lengths[:last])
        seen = observations[start : stop if last < len(lengths) else None]
        return LossInputs(
            **{name: values[start:stop] for name, values in columns.items()},
            sequence_ids=sequence_ids[start:stop] - first,
            num_tokens=total,
            num_sequences=len(lengths),
            observations=seen,
            num_observations=total + 3,
            entropy_history=0.8,
        )

    whole = objective(part(0, len(lengths)))
    pieces = [objective(part(0, cut)), objective(part(cut, len(lengths)))]
    assert sum(piece.loss.item() for piece in pieces) == pytest.approx(whole.loss.item())
    for name, value in whole.metrics.items():
        assert sum(piece.metrics[name] for piece in pieces) == pytest.approx(value), name
    together = torch.autograd.grad(whole.loss, leaves)
    added = torch.autograd.grad(pieces[0].loss + pieces[1].loss, leaves)
    for one, other in zip(added, together, strict=True):
        torch.testing.assert_close(one, other)


def test_the_order_of_the_parts_does_not_matter(make_inputs: Make) -> None:
    inputs = make_inputs([1.5, 0.5], [1, -1], [0, 1], [3, 0.7], reference_logprobs=[-1.0, -3.0])
    spec: dict[str, dict[str, Any]] = {"ppo-clip": {}, "tis": {}, "sequence-mask": {}, "kl": {}}
    losses_seen = {build_objective(dict(order))(inputs).loss.item() for order in (spec.items(), reversed(spec.items()))}
    assert len(losses_seen) == 1


def test_observations_are_counted(make_inputs: Make) -> None:
    with pytest.raises(ValueError, match="num_observations 1 must count the whole step; this micro-batch alone has 2 observation tokens"):
        make_inputs([1.0], [1], [0], observations=[-1.0, -2.0], num_observations=1)


def test_columns_of_the_parts_are_checked(make_inputs: Make) -> None:
    with pytest.raises(ValueError, match=r"rewards has shape \(2,\); expected one entry per policy token: \(1,\)"):
        replace(make_inputs([1.0], [1], [0]), rewards=torch.zeros(2))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "rl.loss: expected exactly one of aepo, cispo, gmpo, gspo, ppo-clip, sequence-clip, found none"),
        ({"kl": {}}, "rl.loss: expected exactly one of aepo, cispo, gmpo, gspo, ppo-clip, sequence-clip, found none"),
        ({"gspo": {}, "ppo-clip": {}, "kl": {}}, "rl.loss: expected exactly one of .*, found gspo, ppo-clip"),
        ({"ppo-clip": {}, "tis": {}, "is-mask": {}}, "rl.loss: tis and is-mask both multiply by the ratio of trainer to sampler; keep one"),
        ({"ppo-clop": {}}, "rl.loss: unknown loss 'ppo-clop'; did you mean 'ppo-clip'"),
        ({"ppo-clip": {}, "kl": {"beta": 0.1}}, "rl.loss: kl: unknown key 'beta'"),
        ({"ppo-clip": None}, r"rl.loss: ppo-clip: expected a mapping of options such as \{\}, found None"),
        ("ppo-clip", r"rl.loss: expected a mapping such as \{ppo-clip: \{\}\}, found 'ppo-clip'"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        build_objective(spec, "rl.loss")
    assert "\n" not in str(error.value)
