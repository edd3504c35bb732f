"""The reward contract in four scopes, by which a recipe can say `rewards: {em: {}, economy: {weight: 0.2}}`.

A reward is a pure function: of a task and a trajectory (`RewardTerm`, one number), of its policy turns (`TurnReward`), of its tokens
(`SpanReward`), or of the unbroken trajectories of a group (`GroupReward`). Built-in ones are frozen configs that are called like functions
and registered under a name; their defaults are the published setting. A reward's field may hold another reward, written by its name
(`{gate: {when: {format: {}}, then: {f1: {}}, otherwise: -1.0}}`); a number stands for a constant.

The rubric weighs them. Invariant 4: a broken trajectory is skipped, it keeps no rewards and its `reward` means nothing. A reward that
raises or is not finite stops the run or breaks the trajectory, as configured, and never becomes 0. A `BrokenError` always breaks it.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, TypeAlias, TypeVar, get_args

from spadework.core.errors import BrokenError, ConfigError, InputError
from spadework.core.registry import Part, Registry
from spadework.rewards.weight import Schedule, Weight, trains, weight_at
from spadework.tasks.task import Task
from spadework.trajectories.tree import Column, Status, Trajectory

__all__ = [
    "GroupReward",
    "Pair",
    "Reward",
    "RewardError",
    "RewardPart",
    "RewardTerm",
    "Rubric",
    "Span",
    "SpanReward",
    "Term",
    "TurnReward",
    "nested",
    "register",
    "registered_name",
    "rewards",
]

Reward: TypeAlias = Callable[[Task, Trajectory], float]
"""What a trajectory of a task is worth. Pure: it reads both and changes neither."""
Pair: TypeAlias = tuple[Task, Trajectory]


class RewardError(InputError, ValueError):
    """A reward raised or is not a finite number; the message names it and the trajectory."""


class Span(NamedTuple):
    """Tokens `start` to `stop` (exclusive) of a generation node; each of them gets `value`."""

    node: int
    start: int
    stop: int
    value: float


class RewardPart(Part):
    """What the rewards of all scopes have in common."""

    weight: Weight = 1.0
    """Factor in the rubric, or a schedule {start, end, from, to} over training. The call returns the unweighted value."""

    @classmethod
    def parse(cls, values: dict[str, Any], *, source: str) -> Self:
        """Validate plain values; a field that holds rewards takes them by name.

        Raises:
            ConfigError: one line that names the key, the value and what would be right.
        """
        built = dict(values)
        for key in values.keys() & cls.model_fields.keys():
            if kind := _kind(cls.model_fields[key].annotation):
                built[key] = cls._inner(key, values[key], kind, f"{source}: {key}")
        return super().parse(built, source=source)

    @classmethod
    def _inner(cls, key: str, value: Any, kind: "type[RewardPart]", source: str) -> Any:
        if value is None:
            return None  # an optional reward that is switched off
        part = nested(value, kind=kind, source=source)
        if part.weight != type(part).model_fields["weight"].default:
            raise ConfigError(f"{source}: 'weight' has no effect here; a rubric and 'sum' weigh their terms")
        return part

    def inner(self) -> "Iterator[RewardPart]":
        """The rewards that this one calls."""
        for key in type(self).model_fields:
            value = getattr(self, key)
            yield from (part for part in (value.values() if isinstance(value, Mapping) else [value]) if isinstance(part, RewardPart))

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Called once before many trajectories are scored. A reward that asks a server asks here for all of them at once."""
        for part in self.inner():
            part.prepare(pairs)


class RewardTerm(RewardPart):
    """A number for a trajectory."""

    @abstractmethod
    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """The reward of a finished, unbroken trajectory."""


class TurnReward(RewardPart):
    """A number for every turn of the policy. It enters no trajectory's reward; credit rules of turns read it."""

    @abstractmethod
    def __call__(self, task: Task, trajectory: Trajectory) -> list[float]:
        """One value per generation node, in their order."""


class SpanReward(RewardPart):
    """Numbers for spans of sampled tokens. It enters no trajectory's reward; credit rules of tokens read it."""

    @abstractmethod
    def __call__(self, task: Task, trajectory: Trajectory) -> list[Span]:
        """The spans that have a value; where they overlap the values add."""


class GroupReward(RewardPart):
    """A number for every trajectory of a group, which may depend on the others. It counts like a trajectory's own term."""

    @abstractmethod
    def __call__(self, task: Task, trajectories: Sequence[Trajectory]) -> list[float]:
        """One value per trajectory. All are finished and unbroken."""


rewards: Registry[RewardPart] = Registry("reward", "spadework.rewards")
"""All registered rewards."""
register = rewards.register

P = TypeVar("P", bound=RewardPart)
_SCOPES = {RewardTerm: "trajectories", TurnReward: "turns", SpanReward: "spans", GroupReward: "groups"}


def registered_name(key: str) -> str:
    """The registered name of a key: `em/loose` is an `em` with a label of its own, so that a rubric can have two."""
    return key.partition("/")[0]


def nested(value: Any, *, kind: type[P], source: str) -> P:
    """Make the reward that stands inside another one.

    Args:
        value: a number, `{name: {options}}`, or a reward.
        kind: the scope that is needed.
        source: the key it stands under; named in errors.

    Raises:
        ConfigError: an unknown name or option, a reward of another scope, or no reward at all.
    """
    part = value
    if isinstance(value, int | float) and not isinstance(value, bool):
        part = rewards.build("constant", {"value": value}, source=source)
    elif isinstance(value, Mapping) and len(value) == 1:
        [(name, options)] = value.items()
        if options is not None and not isinstance(options, Mapping):
            raise ConfigError(f"{source}: {name}: expected a mapping of options such as {{}}, found {options!r}")
        part = rewards.build(registered_name(name), options, source=source)
    if not isinstance(part, RewardPart):
        raise ConfigError(f"{source}: expected one reward such as {{em: {{}}}} or a number, found {value!r}")
    if not isinstance(part, kind):
        scope = next(text for base, text in _SCOPES.items() if isinstance(part, base))
        raise ConfigError(f"{source}: {type(part).__name__} is a reward of {scope}, and one of {_SCOPES[kind]} is needed here")
    return part


def _kind(annotation: Any) -> type[RewardPart] | None:
    """The scope of the rewards that a field holds; None for an ordinary option."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, RewardPart):
            return candidate
    return None


@dataclass(frozen=True, slots=True)
class Term:
    """One line of a rubric."""

    name: str
    reward: Reward | TurnReward | SpanReward | GroupReward
    weight: float | Schedule = 1.0


class Rubric:
    """A weighted sum of named rewards."""

    def __init__(self, terms: Iterable[Term], *, on_error: Literal["stop", "drop"] = "stop") -> None:
        """Collect terms.

        Args:
            terms: in the order in which they are shown.
            on_error: what a reward that raises or is not finite does: `stop` the run, or `drop` the trajectory, which becomes broken with
                the error as its text.

        Raises:
            ConfigError: there is none, all weights are 0, or two have the same name.
        """
        self.terms = tuple(terms)
        self.on_error = on_error
        names = [term.name for term in self.terms]
        if len(set(names)) < len(names):
            raise ConfigError(f"rubric: two terms have the same name: {', '.join(names)}")
        if on_error not in ("stop", "drop"):
            raise ConfigError(f"rubric: on_error is 'stop' or 'drop', not {on_error!r}")
        if not any(trains(term.weight) for term in self.terms):
            raise ConfigError("rubric: no term has a weight other than 0, so nothing would be learned; add one such as em: {weight: 1.0}")

    @classmethod
    def build(cls, spec: Mapping[str, Mapping[str, Any]], *, source: str = "rewards", on_error: Literal["stop", "drop"] = "stop") -> Self:
        """Make a rubric from plain values.

        Args:
            spec: {name of a registered reward, or name/label: {weight: 1.0, **options}}.
            source: the file or key the values came from; named in errors.
            on_error: `stop` or `drop`.

        Raises:
            ConfigError: an unknown reward or option (the nearest known one is named), or a value of the wrong type.
        """
        terms = []
        for name, values in spec.items():
            if not isinstance(values, Mapping):
                raise ConfigError(f"{source}: {name}: expected a mapping such as {{weight: 1.0}}, found {values!r}")
            reward = rewards.build(registered_name(name), values, source=source)
            if not isinstance(reward, RewardTerm | TurnReward | SpanReward | GroupReward):
                raise ConfigError(f"{source}: {name}: {type(reward).__name__} has no scope")
            terms.append(Term(name, reward, reward.weight))
        return cls(terms, on_error=on_error)

    @property
    def supplies(self) -> frozenset[str]:
        """What it gives to credit beside trajectory rewards: `turn_rewards`, `span_rewards`; `objectives` if it has several of those."""
        used = [term.reward for term in self.terms if trains(term.weight)]
        turns, spans = (any(isinstance(reward, scope) for reward in used) for scope in (TurnReward, SpanReward))
        objectives = sum(not isinstance(reward, TurnReward | SpanReward) for reward in used)
        found = {"turn_rewards": turns, "span_rewards": spans, "objectives": objectives > 1}
        return frozenset(name for name, there in found.items() if there)

    def score(self, trajectories: Iterable[Trajectory], task: Task, progress: float = 0.0) -> int:
        """Score the trajectories of one task; see `score_groups`."""
        return self.score_groups([task], [trajectories], progress)

    def score_groups(self, tasks: Sequence[Task], groups: Sequence[Iterable[Trajectory]], progress: float = 0.0) -> int:
        """Write `rewards[name]` of every term, unweighted, and their weighted sum as `reward`, on trajectories and on generation nodes.

        Trajectories also get the `weights` of this moment, for credit that compares every objective on its own.

        Args:
            tasks: one per group. Scoring many groups at once lets rewards that ask a server ask for all of them together.
            groups: the trajectories of each task. Broken ones are skipped.
            progress: share of the training that is done, which schedules of weights read.

        Returns:
            The number of trajectories that became broken here.

        Raises:
            RewardError: a reward raised or is not a finite number, and `on_error` is `stop`.
            ValueError: a trajectory belongs to another task or is still running.
        """
        alive = [[t for t in group if self._takes(t, task)] for task, group in zip(tasks, groups, strict=True)]
        pairs = [(task, trajectory) for task, group in zip(tasks, alive, strict=True) for trajectory in group]
        for term in self.terms:
            if isinstance(term.reward, RewardPart):
                term.reward.prepare(pairs)
        for task, group in zip(tasks, alive, strict=True):
            self._score(task, group, {term.name: weight_at(term.weight, progress) for term in self.terms})
        return sum(trajectory.status is Status.BROKEN for _, trajectory in pairs)

    def _takes(self, trajectory: Trajectory, task: Task) -> bool:
        if trajectory.task_id != task.id:
            raise ValueError(f"trajectory {trajectory.task_id}/{trajectory.sample} does not attempt task {task.id}")
        if trajectory.status is Status.RUNNING:
            raise ValueError(f"trajectory {trajectory.task_id}/{trajectory.sample} is still running and cannot be scored")
        _clear(trajectory)
        return trajectory.status is not Status.BROKEN

    def _score(self, task: Task, trajectories: list[Trajectory], weights: Mapping[str, float]) -> None:
        # Group terms come last: they compare the trajectories that no other term has broken.
        for term in sorted(self.terms, key=lambda term: isinstance(term.reward, GroupReward)):
            alive = [trajectory for trajectory in trajectories if trajectory.status is not Status.BROKEN]
            if isinstance(term.reward, GroupReward):
                self._write_group(term.name, term.reward, task, alive)
                continue
            for trajectory in alive:
                try:
                    _write(term, task, trajectory, weights[term.name])
                except Exception as error:  # a reward is anybody's code, and the line must name the term and the trajectory
                    self._fail(term.name, trajectory, error)
        for trajectory in trajectories:
            if trajectory.status is Status.BROKEN:
                _clear(trajectory)
                continue
            trajectory.rewards = {name: trajectory.rewards[name] for name in weights if name in trajectory.rewards}
            trajectory.weights = {name: weights[name] for name in trajectory.rewards}
            trajectory.reward = sum(weights[name] * value for name, value in trajectory.rewards.items())

    def _write_group(self, name: str, reward: GroupReward, task: Task, alive: list[Trajectory]) -> None:
        if not alive:
            return
        try:
            values = reward(task, alive)
            _check_count(values, len(alive), "trajectories")
        except Exception as error:  # as above; what all of them share breaks all of them
            for trajectory in alive:
                self._fail(name, trajectory, error)
            return
        for trajectory, value in zip(alive, values, strict=True):
            try:
                trajectory.rewards[name] = _finite(value)
            except RewardError as error:
                self._fail(name, trajectory, error)

    def _fail(self, name: str, trajectory: Trajectory, error: Exception) -> None:
        where = f"reward '{name}' of trajectory {trajectory.task_id}/{trajectory.sample}"
        known = isinstance(error, InputError | BrokenError)
        text = f"{where} {error}" if isinstance(error, RewardError) else f"{where}: {'' if known else type(error).__name__ + ': '}{error}"
        if self.on_error == "stop" and not isinstance(error, BrokenError):
            raise RewardError(" ".join(text.split())) from error
        trajectory.status, trajectory.error = Status.BROKEN, " ".join(text.split())


def _clear(trajectory: Trajectory) -> None:
    trajectory.rewards, trajectory.weights, trajectory.reward = {}, {}, 0.0
    for node in trajectory.generations():
        node.rewards, node.reward, node.token_rewards = {}, 0.0, []


def _write(term: Term, task: Task, trajectory: Trajectory, weight: float) -> None:
    """Write a term of one trajectory where its scope says."""
    if isinstance(term.reward, GroupReward):
        raise TypeError("a group's reward is not one trajectory's")
    if isinstance(term.reward, TurnReward):
        turns = list(trajectory.generations())
        values = term.reward(task, trajectory)
        _check_count(values, len(turns), "turns")
        for node, value in zip(turns, values, strict=True):
            node.rewards[term.name] = _finite(value)
            node.reward += weight * node.rewards[term.name]
    elif isinstance(term.reward, SpanReward):
        _write_spans(term.reward(task, trajectory), trajectory, weight)
    else:
        trajectory.rewards[term.name] = _finite(term.reward(task, trajectory))


def _write_spans(spans: Iterable[Span], trajectory: Trajectory, weight: float) -> None:
    columns = {node.id: list(node.token_rewards) or [0.0] * len(node.token_ids) for node in trajectory.generations()}
    for number, start, stop, value in spans:
        if number not in columns or not 0 <= start < stop <= len(columns[number]):
            raise RewardError(f"gives tokens {start} to {stop} of node {number}, which are not sampled tokens")
        for index in range(start, stop):
            columns[number][index] += weight * _finite(value)
    for node in trajectory.generations():
        node.token_rewards = Column(columns[node.id])


def _check_count(values: Sequence[float], count: int, things: str) -> None:
    if len(values) != count:
        raise RewardError(f"gives {len(values)} values for {count} {things}")


def _finite(value: float) -> float:
    value = float(value)
    if not math.isfinite(value):
        raise RewardError(f"is {value}")
    return value
