"""A task: a question with verifiable answers, the evidence that supports them, and where it came from.

Invariant 9 (`tasks/validate.py`): the task's own gold answer scores 1, its evidence exists, and a wrong answer scores less.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Task"]


class Task(BaseModel):
    """One question and what is needed to judge an answer to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    question: str
    answers: tuple[str, ...] = Field(min_length=1)
    """The gold answer first, then its aliases. Matching any one of them is right."""
    evidence: tuple[str, ...] = ()
    """Ids of the documents that support the answer, in the order in which a solver needs them."""
    hops: int = Field(default=1, ge=0)
    """Number of documents that must be looked up one after the other."""
    kind: str = "chain"
    """chain, intersection, count, comparison, span ..."""
    source: str = ""
    """Name and hash of the world, corpus or data set."""
    meta: dict[str, Any] = Field(default_factory=dict)
    """Provenance, for example the relations of a chain (`steps`), which scripted experts follow, and what single rewards say they need."""
