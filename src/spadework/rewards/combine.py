"""The algebra: rewards made of rewards. Their options hold other rewards by name, and a number stands for a constant.

    {sum: {terms: {f1: {}, format: {weight: 0.1}}}}                      a weighted sum
    {product: {terms: {em: {}, format: {}}}}                             all of them at once
    {gate: {when: {format: {}}, then: {f1: {}}, otherwise: -1.0}}        one or the other, never both
    {if-correct: {then: 1.0, otherwise: {format: {weight: 1.0}}}}        a gate that asks for an exact match
    {clip: {of: {economy: {}}, low: -0.5, high: 0.0}}                    bounded

Only `sum` weighs what it holds. Not done here: rewards of turns, spans and groups in one expression; a rubric adds their terms.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from pydantic import Field, model_validator

from spadework.core.errors import ConfigError
from spadework.rewards.answer import ExactMatch
from spadework.rewards.reward import Pair, RewardPart, RewardTerm, Span, SpanReward, TurnReward, nested, register
from spadework.rewards.weight import Schedule, weight_at
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Clip", "Constant", "Gate", "IfCorrect", "LastToken", "Product", "Sum"]


@register("constant", formula="{value}", source="algebra")
class Constant(RewardTerm):
    """The same number for everybody. In a recipe a plain number stands for it."""

    value: float = Field(allow_inf_nan=False)

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """`value`."""
        return self.value


@register("sum", formula="sum of weight * term", source="algebra")
class Sum(RewardTerm):
    """Sum of weight times value over the terms."""

    terms: dict[str, RewardTerm] = Field(min_length=1)
    """{name, or name/label: {weight: 1.0, **options}}."""

    @classmethod
    def _inner(cls, key: str, value: Any, kind: type[RewardPart], source: str) -> Any:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{source}: expected a mapping such as {{em: {{}}, format: {{weight: 0.1}}}}, found {value!r}")
        terms = {}
        for name, part in value.items():
            terms[name] = nested(part if isinstance(part, RewardPart) else {name: part}, kind=kind, source=source)
            cls._check(f"{source}: {name}", terms[name])
        return terms

    @classmethod
    def _check(cls, source: str, part: RewardPart) -> None:
        if isinstance(part.weight, Schedule):
            raise ConfigError(f"{source}: a schedule has no effect here; give it to a term of the rubric")

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """The weighted sum."""
        return sum(weight_at(part.weight, 0.0) * part(task, trajectory) for part in self.terms.values())


@register("product", formula="product of the terms", source="algebra")
class Product(Sum):
    """Product of the terms; with a 0/1 term, a gate whose other side is 0. ASearcher's and DeepDive's form."""

    @classmethod
    def _check(cls, source: str, part: RewardPart) -> None:
        if part.weight != 1.0:
            raise ConfigError(f"{source}: 'weight' has no effect in a product; weigh the product")

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """The product."""
        value = 1.0
        for part in self.terms.values():
            value *= part(task, trajectory)
        return value


@register("gate", formula="{then} if {when} > {above}, else {otherwise}", source="algebra")
class Gate(RewardTerm):
    """`then` if `when` is above a bound, else `otherwise`. Only the side that is taken is computed, so a gate can save a judge's call."""

    when: RewardTerm
    """The condition."""
    above: float = 0.0
    """The gate is open if the condition's value is above this."""
    then: RewardTerm
    """Value where it is open."""
    otherwise: RewardTerm = Constant(value=0.0)
    """Value where it is shut."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """One of the two values."""
        return self._side(task, trajectory)(task, trajectory)

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Prepares each side for the trajectories that take it."""
        self.when.prepare(pairs)
        sides: tuple[list[Pair], list[Pair]] = ([], [])
        for pair in pairs:
            with suppress(Exception):  # a condition that raises does so again when it is called, where the trajectory is named
                sides[self._side(*pair) is self.then].append(pair)
        self.otherwise.prepare(sides[0])
        self.then.prepare(sides[1])

    def _side(self, task: Task, trajectory: Trajectory) -> RewardTerm:
        return self.then if self.when(task, trajectory) > self.above else self.otherwise


@register("if-correct", formula="{then} if {when} > {above}, else {otherwise}", source="algebra")
class IfCorrect(Gate):
    """A gate whose condition is an exact match unless another is named."""

    when: RewardTerm = ExactMatch()
    then: RewardTerm = Constant(value=1.0)


@register("clip", formula="min({high}, max({low}, {of}))", source="algebra")
class Clip(RewardTerm):
    """A reward between two bounds."""

    of: RewardTerm
    low: float = 0.0
    high: float = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"'low' {self.low:g} is above 'high' {self.high:g}")
        return self

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """min(high, max(low, of))."""
        return min(self.high, max(self.low, self.of(task, trajectory)))


@register("last-token", formula="{of} on the turn's last token", source="StepSearch's placement")
class LastToken(SpanReward):
    """A turn's reward on the last sampled token of the turn, for credit that works token by token (StepSearch's placement)."""

    of: TurnReward

    def __call__(self, task: Task, trajectory: Trajectory) -> list[Span]:
        """One span of one token per turn that has tokens."""
        nodes = list(trajectory.generations())
        values = self.of(task, trajectory)
        return [
            Span(node.id, len(node.token_ids) - 1, len(node.token_ids), value)
            for node, value in zip(nodes, values, strict=True)
            if node.token_ids
        ]
