"""Pairwise comparison with a reference that moves (Writing-RL, arXiv 2506.05760): win 1, tie 0.5, loss 0.

`task.meta["references"]` lists texts from weak to strong. The group is compared with the first; while at least half of it beats the
reference, the next one takes its place, and the last comparison is the reward. So the reference is always near the policy, and the choice
needs no state that a resumed run could lose. (The paper replaces a beaten reference between steps.) A judge is asked in both orders, and
the two replies must agree for a win or a loss; otherwise any reward can compare.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from pydantic import Field, model_validator

from spadework.core.errors import InputError
from spadework.rewards.endpoint import Endpoint
from spadework.rewards.prompt import load_prompt, read_verdict
from spadework.rewards.reward import GroupReward, RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Pairwise"]


@register("pairwise", formula="win 1, tie 0.5, loss 0 against a reference that climbs with the group", source="Writing-RL, 2506.05760")
class Pairwise(GroupReward):
    """1, 0.5 or 0 against the reference that the group has reached."""

    endpoint: Endpoint | None = None
    """The judge."""
    by: RewardTerm | None = None
    """Without a judge: the text with the higher value of this reward is better."""
    climb: float = Field(default=0.5, gt=0, le=1)
    """The next reference is taken while this share of the group beats the present one."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.endpoint is None) == (self.by is None):
            raise ValueError("give exactly one of 'endpoint' (a judge) and 'by' (a reward)")
        return self

    def __call__(self, task: Task, trajectories: Sequence[Trajectory]) -> list[float]:
        """0, 0.5 or 1 per member; 0 without an answer.

        Raises:
            InputError: the task has no references.
            BrokenError: the judge gave no verdict.
        """
        references = task.meta.get("references")
        if not references:
            raise InputError(f"task {task.id}: meta['references'] is not set, so there is nothing to compare with")
        values: list[float] = []
        for reference in references:
            values = self._compare(task, trajectories, reference)
            if sum(value == 1 for value in values) < self.climb * len(values):
                break
        return values

    def _compare(self, task: Task, trajectories: Sequence[Trajectory], reference: str) -> list[float]:
        if self.by is None:
            assert self.endpoint is not None  # `_one_of_two`
            return self._judge(self.endpoint, task, [trajectory.answer for trajectory in trajectories], reference)
        bar = [self.by(task, replace(trajectory, answer=reference)) for trajectory in trajectories]
        own = [self.by(task, trajectory) for trajectory in trajectories]
        return [_points(value, other) if t.answer else 0.0 for t, value, other in zip(trajectories, own, bar, strict=True)]

    def _judge(self, endpoint: Endpoint, task: Task, answers: list[str | None], reference: str) -> list[float]:
        prompt = load_prompt("pairwise")
        asked = [
            (
                prompt.fill(question=task.question, first=text, second=reference),
                prompt.fill(question=task.question, first=reference, second=text),
            )
            for text in answers
            if text
        ]
        endpoint.prefetch([question for pair in asked for question in pair], _verdict)
        # Both orders must agree: a judge that loves the first place gives ties.
        found = [(endpoint.ask(first, _verdict), endpoint.ask(second, _verdict)) for first, second in asked]
        points = iter([1.0 if pair == ("A", "B") else 0.0 if pair == ("B", "A") else 0.5 for pair in found])
        return [next(points) if text else 0.0 for text in answers]


def _verdict(reply: str) -> str:
    return read_verdict(reply, "A", "B", "tie")


def _points(value: float, other: float) -> float:
    return 1.0 if value > other else 0.5 if value == other else 0.0
