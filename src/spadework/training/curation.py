"""Live curation: which tasks are worth another rollout is learned from the rollouts that training makes anyway.

Every task that was tried is in one of three pools by the pass rate of its last group: too hard (no attempt right), mastered (all
right), and right (some), where the advantages are not all 0. Draws come from the right pool, and with probability `fresh` from tasks
that were not tried within the last `forget` steps, so that the pool is fed and what was too hard has another chance. The pool is
refreshed after so many steps, or when the reward has stalled (Tongyi DeepResearch, arXiv 2510.24701); until then draws come from the
pool as it was. Nothing waits for it.

The store is a file of the run, `pass_rates.jsonl`: one line per step with the pass count of every task, only ever appended to. All else
is a function of its lines, so a resumed run draws what the unbroken run draws. Not done: a second process that tries tasks beforehand.
"""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from spadework.core.config import Config
from spadework.core.events import append_text, read_events, write_atomic
from spadework.tasks.task import Task
from spadework.trajectories.tree import Group, Status

__all__ = ["Curation", "PassRates", "right_attempts"]


class Curation(Config):
    """How live curation chooses tasks."""

    fresh: float = Field(default=0.25, gt=0, le=1)
    """Probability of a task that has not been tried lately. 1 is uniform sampling without the tasks tried lately."""
    refresh: int = Field(default=10, gt=0)
    """Steps after which the pool is refreshed at the latest."""
    patience: int = Field(default=3, gt=0)
    """It is refreshed earlier if the mean reward of so many steps is not above that of as many before."""
    forget: int = Field(default=50, gt=0)
    """Steps after which a pass rate is too old to say anything about the policy."""
    passing: float = 0.5
    """Reward from which on an attempt counts as right."""


def right_attempts(group: Group, passing: float) -> tuple[int, int]:
    """How many attempts are right, and how many there are; what infrastructure broke is none."""
    usable = [trajectory for trajectory in group if trajectory.status is not Status.BROKEN]
    return sum(trajectory.reward >= passing for trajectory in usable), len(usable)


class PassRates:
    """The store and the pools."""

    def __init__(self, path: Path, config: Curation, step: int = 0) -> None:
        """Open the store of a run, or begin one.

        Args:
            path: the file.
            config: how tasks are chosen.
            step: steps that are done; what a killed run wrote after them is forgotten.
        """
        self.path, self.config = path, config
        self.last: dict[str, tuple[int, int, int]] = {}
        """Of each task that was tried: right attempts, attempts, and the step of its last group."""
        self.pool: frozenset[str] = frozenset()
        """The right pool as of the last refresh."""
        self.refreshed, self.step = 0, 0
        self._rewards: list[float] = []
        self._choices: dict[int, tuple[list[Task], list[Task]]] = {}
        events = read_events(path)
        kept = [event for event in events if event["step"] <= step]
        if len(kept) < len(events):
            write_atomic(path, "".join(map(_line, kept)))
        for event in kept:
            self._learn(event["step"], event["tasks"], event["reward"])

    def observe(self, step: int, tasks: Sequence[Task], groups: Sequence[Group]) -> dict[str, float]:
        """Take in what a step has found; returns figures for its event.

        Args:
            step: counted from 1.
            tasks: what was tried.
            groups: their scored groups; one whose attempts are all broken tells nothing.
        """
        counts = {task.id: right_attempts(group, self.config.passing) for task, group in zip(tasks, groups, strict=True)}
        found = {key: [right, tried] for key, (right, tried) in counts.items() if tried}
        rewards = [trajectory.reward for group in groups for trajectory in group if trajectory.status is not Status.BROKEN]
        event = {"step": step, "reward": sum(rewards) / max(1, len(rewards)), "tasks": found}
        append_text(self.path, _line(event))
        self._learn(step, found, sum(rewards) / max(1, len(rewards)))
        sizes = {name: float(len(keys)) for name, keys in self.pools().items()}
        return {f"curation/{name}": size for name, size in sizes.items()} | {"curation/refreshed": float(self.refreshed == step)}

    def pools(self) -> dict[str, list[str]]:
        """Ids of the tasks that were tried lately, by what they are now: `too_hard`, `right`, `mastered`."""
        pools: dict[str, list[str]] = {"too_hard": [], "right": [], "mastered": []}
        for key, (right, tried, step) in self.last.items():
            if step > self.step - self.config.forget:
                pools["too_hard" if not right else "mastered" if right == tried else "right"].append(key)
        return pools

    def pick(self, stream: random.Random, hops: int, tasks: Sequence[Task]) -> Task:
        """One task.

        Args:
            stream: decides.
            hops: names the tasks.
            tasks: what there is, always the same for the same `hops`.
        """
        if hops not in self._choices:
            lately = {key for keys in self.pools().values() for key in keys}
            self._choices[hops] = [task for task in tasks if task.id in self.pool], [task for task in tasks if task.id not in lately]
        right, fresh = self._choices[hops]
        chosen: Sequence[Task] = right if right and stream.random() >= self.config.fresh else fresh
        chosen = chosen or tasks
        return chosen[stream.randrange(len(chosen))]

    def _learn(self, step: int, found: Mapping[str, Sequence[int]], reward: float) -> None:
        self.step = step
        self._choices.clear()
        self.last |= {key: (right, tried, step) for key, (right, tried) in found.items()}
        self._rewards.append(reward)
        most = self.config.patience
        before, now = self._rewards[-2 * most : -most], self._rewards[-most:]
        stalled = len(before) == most and sum(now) <= sum(before)
        if stalled or step - self.refreshed >= self.config.refresh:
            self.pool, self.refreshed = frozenset(self.pools()["right"]), step
            self._rewards.clear()


def _line(event: Mapping[str, object]) -> str:
    return json.dumps(event) + "\n"
