"""The engine contract: token ids in, token ids with log-probabilities out.

An engine samples from a policy whose weights have a version. `load` may happen while requests are in flight; each completion says which
versions sampled it. Requests are stateless: an engine may recognise a prefix that it has seen and reuse the work, but a caller never
has to tell it, so any path of any trajectory can be continued, forked or replayed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pydantic import Field

from spadework.core.config import Config

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Completion", "Engine", "Request", "SamplingParams", "Weights"]

Weights: TypeAlias = "Mapping[str, Tensor]"
"""Parameters by their Hugging Face names."""


class SamplingParams(Config):
    """How to sample; names and meaning as in vLLM."""

    temperature: float = Field(default=1.0, ge=0)
    """Divides the logits. 0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample from the smallest set of tokens whose probability reaches this."""
    top_k: int = Field(default=0, ge=0)
    """Sample from this many best tokens; 0 is all."""
    max_tokens: int = 256
    """At most this many new tokens."""
    stop: tuple[str, ...] = ()
    """Stop as soon as the new text contains one of these. The tokens that complete it are kept."""
    stop_token_ids: tuple[int, ...] = ()
    """Stop after one of these tokens, which is kept."""


@dataclass(slots=True)
class Request:
    """One thing to continue."""

    token_ids: list[int]
    params: SamplingParams
    seed: int = 0
    """Seed of this request alone: its sample does not depend on what else is in the batch."""
    label: str = ""
    """Trajectory it belongs to; named in errors."""


@dataclass(slots=True)
class Completion:
    """What was sampled. One entry per token in every column."""

    token_ids: list[int]
    logprobs: list[float]
    """In nats, of the whole distribution at the sampling temperature, before top-p and top-k; at temperature 0 as at 1."""
    entropies: list[float]
    """In nats, of the same distribution."""
    finish: str
    """`stop`, `length` (a token limit) or `context` (the model's window is full)."""
    versions: list[int] = field(default_factory=list)
    """Policy version that sampled each token."""


class Engine(Protocol):
    """Samples tokens from a policy."""

    async def generate(self, request: Request) -> Completion:
        """Continue the request's tokens.

        Raises:
            InputError: the request cannot be served as it stands, for example it is longer than the window.
            BrokenError: the backend failed; the trajectory must not be scored.
        """
        ...

    async def load(self, weights: Weights, version: int) -> None:
        """Replace the weights. Requests in flight go on with the new ones and their completions say so."""
        ...
