"""Tokens with given ratios, for all losses."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from spadework.algorithms.losses.loss import LossInputs


def _make(ratios: list[float], advantages: list[float], ids: list[int], weights: list[float] | None = None, **changes: Any) -> LossInputs:
    """Tokens with these ratios of new to old probability (old: -2), and of old to sampler probability `weights` (default 1).

    A list among the changes becomes a column.
    """
    old = torch.full((len(ratios),), -2.0, dtype=torch.float64)
    columns = {name: torch.tensor(value, dtype=torch.float64) if isinstance(value, list) else value for name, value in changes.items()}
    inputs = LossInputs(
        logprobs=(old + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_(),
        old_logprobs=old,
        sampler_logprobs=old - torch.tensor(weights or [1.0] * len(ratios), dtype=torch.float64).log(),
        advantages=torch.tensor(advantages, dtype=torch.float64),
        sequence_ids=torch.tensor(ids),
        num_tokens=len(ratios),
        num_sequences=len(set(ids)),
    )
    return replace(inputs, **columns)


@pytest.fixture(scope="session")
def make_inputs() -> Callable[..., LossInputs]:
    """Makes a micro-batch that is a whole step."""
    return _make
