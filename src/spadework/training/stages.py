"""What each stage of a run is told: steps, data, learner, and for RL the parts of the algorithm by name."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from spadework.agents.expert import ExpertConfig
from spadework.core.config import Config
from spadework.core.errors import ConfigError
from spadework.engines.engine import SamplingParams
from spadework.rollout.strategy import Strategy, strategies
from spadework.training.budget import Budget
from spadework.training.critic import CriticConfig
from spadework.training.curation import Curation
from spadework.training.learner import LearnerConfig
from spadework.training.parts import Parts, build_parts
from spadework.training.reading import ReadingPhase

__all__ = ["Mix", "RLStage", "ReadingStage", "RejectionSampling", "SFTStage", "SupervisedStage"]

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


class RejectionSampling(Config):
    """Demonstrations from a policy: the best right attempts at every task (STaR, arXiv 2203.14465; RFT, 2308.01825; WebSailor, 2507.02592).

    What is right and what is a fault says `synthesis/curation/process.py`.
    """

    policy: str | None = None
    """A checkpoint with the policy's tokens, for example one of an earlier run; null: the model itself, as it is when the stage begins."""
    samples: int = Field(default=8, gt=0)
    """Attempts at a task."""
    keep: int = Field(default=1, gt=0)
    """Most attempts of a task that are imitated, with different calls each."""
    sampling: SamplingParams = SamplingParams(max_tokens=48)


class SFTStage(SupervisedStage):
    """Imitation of the scripted expert, or of what a policy does right."""

    steps: int = 300
    demonstrations: int = Field(default=3000, gt=0)
    """Tasks that are drawn. The expert demonstrates each once; a policy attempts each several times, and not all may be solved."""
    hops: Mix | None = Field(default={1: 0.4, 2: 0.4, 3: 0.2})
    """null: all tasks of a data set alike."""
    expert: ExpertConfig = ExpertConfig()
    rejection: RejectionSampling | None = None
    """Rejection sampling of a policy in place of the expert; null: the expert."""
    replay: ReadingPhase | None = None
    """Sequences of reading among the demonstrations, so that what it has taught is not unlearned; `share` is theirs of all sequences."""

    @field_validator("replay")
    @classmethod
    def _some_demonstrations(cls, replay: ReadingPhase | None) -> ReadingPhase | None:
        if replay is not None and replay.share >= 1:
            raise ValueError(f"a share of {replay.share:g} leaves no demonstrations; give less than 1")
        return replay

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.rejection is not None and self.expert != ExpertConfig():
            raise ConfigError("sft.expert has no effect with sft.rejection, whose demonstrations come from a policy; set sft.expert={}")
        return self


class RLStage(Config):
    """Reinforcement: rollout, score, select, credit, learn, load."""

    steps: int = Field(default=100, ge=0)
    """At most; a budget may end the stage earlier."""
    budget: Budget | None = None
    """What the stage may spend in all (`training/budget.py`)."""
    seed: int | None = None
    """Of task draws, sampling and selection, where it is not the run's: several runs from one cold start, on the same held-out tasks."""
    tasks_per_step: int = Field(default=24, gt=0)
    samples: int = Field(default=8, gt=1)
    """Trajectories per task, forks included."""
    hops: Mix | None = Field(default={1: 1.0, 2: 1.0, 3: 1.0})
    """null: all tasks of a data set alike."""
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
    ppo_epochs: int = Field(default=1, gt=0)
    """Passes over the batch of a step."""
    mini_batches: int = Field(default=1, gt=0)
    """Optimiser updates per pass; the groups of the batch are dealt over them. With one update per step the clip of a surrogate has no
    effect, as in any on-policy run: its ratio is 1."""
    critic: CriticConfig | None = None
    """A value model for a credit rule that reads values: `gae`."""
    teacher: str | None = None
    """A Hugging Face checkpoint with the policy's tokens, for a loss that reads `teacher_logprobs`: `failure-kl`."""
    checkpoint_every: int = Field(default=20, gt=0)
    curation: Curation | None = None
    """Draw the tasks that the policy solves sometimes (`training/curation.py`); null draws all alike."""

    on_error: Literal["stop", "drop"] = "stop"
    """What a reward that raises or is not a number does: stop the run, or drop the trajectory as broken, which is counted."""
    resample: int = Field(default=1, ge=1)
    """DAPO's dynamic sampling: draw until selection leaves a full batch, at most this many batches of tasks. 1 does not resample."""
    rollout: dict[str, dict[str, Any]] = Field(default={"independent": {}})
    """One registered rollout strategy with its options: whether, where and how often trajectories fork."""

    def parts(self) -> Parts:
        """The parts by their names, checked against each other."""
        return build_parts(
            self.rewards,
            self.selection,
            self.credit,
            self.loss,
            on_error=self.on_error,
            forks=self.strategy().forks,
            critic=self.critic is not None,
            teacher=self.teacher is not None,
        )

    def strategy(self) -> Strategy:
        """How the trajectories of a task come about; checked against their number.

        Raises:
            ConfigError: not exactly one, an unknown name or option, or it cannot make this number of samples.
        """
        if len(self.rollout) != 1:
            raise ConfigError(f"rl.rollout: expected exactly one strategy, found {', '.join(self.rollout) or 'none'}")
        [(name, options)] = self.rollout.items()
        strategy = strategies.build(name, options, source="rl.rollout")
        strategy.check(self.samples)
        return strategy

    def done(self, step: int, spent: Mapping[str, float]) -> float:
        """Share of the stage that is behind it after a step: of its steps or of its budget, whichever is further. It ends from 1 on.

        Schedules of the learning rate and of reward weights follow this share, so they run their whole course under a budget too.
        """
        return max(step / self.steps, self.budget.share(spent) if self.budget else 0.0)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        self.parts()
        if self.mini_batches > self.tasks_per_step:
            raise ConfigError(
                f"rl.mini_batches: {self.mini_batches} updates per pass need as many groups, and a step has "
                f"{self.tasks_per_step}; lower it, or raise rl.tasks_per_step"
            )
        if self.critic is not None and 0 < self.steps <= self.critic.warmup:
            raise ConfigError(f"rl.critic.warmup: {self.critic.warmup} of {self.steps} steps leave none in which the policy learns")
        return self
