"""What each stage of a run is told: steps, data, learner, and for RL the parts of the algorithm by name."""

from typing import Any

from pydantic import Field, field_validator

from spadework.agents.expert import ExpertConfig
from spadework.algorithms.losses.objective import build_objective
from spadework.core.config import Config
from spadework.engines.engine import SamplingParams
from spadework.training.learner import LearnerConfig
from spadework.training.reading import ReadingPhase

__all__ = ["Mix", "RLStage", "ReadingStage", "SFTStage", "SupervisedStage"]

Mix = dict[int, float]
"""Number of hops -> share of the tasks."""


class SupervisedStage(Config):
    """What reading and SFT have in common."""

    steps: int = Field(ge=0)
    """Optimiser steps."""
    batch_size: int = Field(default=32, gt=0)
    """Sequences per step."""
    learner: LearnerConfig = LearnerConfig()
    checkpoint_every: int = Field(default=100, gt=0)


class ReadingStage(SupervisedStage):
    """Continual pre-training on pages (`training/reading.py`)."""

    steps: int = 900
    batch_size: int = Field(default=8, gt=0)
    phases: tuple[ReadingPhase, ...] = (ReadingPhase(min_words=5, max_words=5), ReadingPhase(pages=3, lines=8))
    """From easy to hard."""

    def phase_at(self, step: int) -> ReadingPhase:
        """The phase of a step counted from 1."""
        total = sum(phase.share for phase in self.phases)
        passed = 0.0
        for phase in self.phases:
            passed += phase.share / total
            if step <= passed * self.steps + 1e-9:
                return phase
        return self.phases[-1]


class SFTStage(SupervisedStage):
    """Imitation of the scripted expert."""

    steps: int = 300
    demonstrations: int = Field(default=3000, gt=0)
    hops: Mix = Field(default={1: 0.4, 2: 0.4, 3: 0.2})
    expert: ExpertConfig = ExpertConfig()


class RLStage(Config):
    """Reinforcement: rollout, score, select, credit, learn, load."""

    steps: int = Field(default=100, ge=0)
    tasks_per_step: int = Field(default=24, gt=0)
    samples: int = Field(default=8, gt=1)
    """Trajectories per task."""
    hops: Mix = Field(default={1: 1.0, 2: 1.0, 3: 1.0})
    sampling: SamplingParams = SamplingParams(max_tokens=48)
    rewards: dict[str, dict[str, Any]] = Field(default={"em": {"weight": 1.0}})
    """Registered rewards with weight and options."""
    selection: dict[str, dict[str, Any]] = Field(default={"zero-variance": {}})
    """Registered selection rules with options, in the order in which they are applied."""
    credit: dict[str, dict[str, Any]] = Field(default={"grpo": {}})
    """One registered credit rule with its options."""
    loss: dict[str, dict[str, Any]] = Field(default={"ppo-clip": {"aggregation": "token-mean"}})
    """One registered surrogate with its options, and any corrections and terms."""
    learner: LearnerConfig = LearnerConfig()
    checkpoint_every: int = Field(default=20, gt=0)

    @field_validator("loss")
    @classmethod
    def _composes(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        build_objective(value, "rl.loss")
        return value

    @field_validator("credit")
    @classmethod
    def _one(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if len(value) != 1:
            raise ValueError(f"expected exactly one rule, found {len(value)}")
        return value
