"""The reward contract, and the rubric: a set of named, weighted rewards.

A reward is a pure function (task, trajectory) -> float. Built-in ones are frozen configs that are called like functions and registered
under a name, so a recipe can say `rewards: {em: {weight: 1.0}, economy: {weight: 0.2}}`. A term of weight 0 is computed and recorded but
does not train.

Invariant 4: a broken trajectory is skipped. It keeps no reward terms and its `reward` means nothing; selection and credit leave it out.
A running trajectory is refused. Not done here: rewards of turns, spans and whole groups.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from pydantic import Field

from spadework.core.config import Config
from spadework.core.errors import ConfigError
from spadework.core.registry import Registry
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status, Trajectory

__all__ = ["Reward", "RewardTerm", "Rubric", "Term", "register", "rewards"]

Reward: TypeAlias = Callable[[Task, Trajectory], float]
"""What a trajectory of a task is worth. Pure: it reads both and changes neither."""


class RewardTerm(Config):
    """A reward with options; its defaults are the published setting."""

    weight: float = Field(default=1.0, allow_inf_nan=False)
    """Factor in the rubric. The call returns the unweighted value."""

    @abstractmethod
    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """The reward of a finished, unbroken trajectory."""


rewards: Registry[RewardTerm] = Registry("reward", "spadework.rewards")
"""All registered rewards."""
register = rewards.register


@dataclass(frozen=True, slots=True)
class Term:
    """One line of a rubric."""

    name: str
    reward: Reward
    weight: float = 1.0


class Rubric:
    """A weighted sum of named rewards."""

    def __init__(self, terms: Iterable[Term]) -> None:
        """Collect terms.

        Args:
            terms: in the order in which they are shown.

        Raises:
            ConfigError: there is none, all weights are 0, or two have the same name.
        """
        self.terms = tuple(terms)
        names = [term.name for term in self.terms]
        if len(set(names)) < len(names):
            raise ConfigError(f"rubric: two terms have the same name: {', '.join(names)}")
        if not any(term.weight for term in self.terms):
            raise ConfigError("rubric: no term has a weight other than 0, so nothing would be learned; add one such as em: {weight: 1.0}")

    @classmethod
    def build(cls, spec: Mapping[str, Mapping[str, Any]], *, source: str = "rewards") -> Self:
        """Make a rubric from plain values.

        Args:
            spec: {name of a registered reward: {weight: 1.0, **options}}.
            source: the file or key the values came from; named in errors.

        Raises:
            ConfigError: an unknown reward or option (the nearest known one is named), or a value of the wrong type.
        """
        terms = []
        for name, values in spec.items():
            if not isinstance(values, Mapping):
                raise ConfigError(f"{source}: {name}: expected a mapping such as {{weight: 1.0}}, found {values!r}")
            reward = rewards.build(name, values, source=source)
            terms.append(Term(name, reward, reward.weight))
        return cls(terms)

    def score(self, trajectories: Iterable[Trajectory], task: Task) -> None:
        """Write `rewards[name]` of every term, unweighted, and their weighted sum as `reward`.

        Args:
            trajectories: a group, or any trajectories of the task. Broken ones are skipped.
            task: the task they attempt.

        Raises:
            ValueError: a trajectory belongs to another task or is still running, or a reward is not a finite number.
        """
        for trajectory in trajectories:
            if trajectory.task_id != task.id:
                raise ValueError(f"trajectory {trajectory.task_id}/{trajectory.sample} does not attempt task {task.id}")
            if trajectory.status is Status.RUNNING:
                raise ValueError(f"trajectory {trajectory.task_id}/{trajectory.sample} is still running and cannot be scored")
            if trajectory.status is Status.BROKEN:
                trajectory.rewards = {}
                continue
            trajectory.rewards = {term.name: self._value(term, task, trajectory) for term in self.terms}
            trajectory.reward = sum(term.weight * trajectory.rewards[term.name] for term in self.terms)

    def _value(self, term: Term, task: Task, trajectory: Trajectory) -> float:
        value = float(term.reward(task, trajectory))
        if not math.isfinite(value):
            raise ValueError(f"reward '{term.name}' of trajectory {trajectory.task_id}/{trajectory.sample} is {value}")
        return value
