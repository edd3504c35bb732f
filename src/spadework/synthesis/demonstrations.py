"""Trajectories for a cold start from a policy or a model: best of n, by rejection sampling.

Any policy that an engine serves rolls out n attempts per task through the real tools (`rollout/groups.py`), a rubric scores them, and
`best_of` keeps those that are worth imitating: right (WebDancer's and WebSailor's outcome filter, arXiv 2505.22648 and 2507.02592), and
made without a fault (their process filter). Of several the shortest is kept, because imitation learns length too. What is kept is trained
on as it was sampled: no token is written anew, so a flaw within a kept attempt stays in it.

The other source of demonstrations, the scripted expert with its named faults and rates, is `agents/expert.py`. Not done: flattening the
traces of several agents into one (Chain-of-Agents, arXiv 2508.13167), which needs a renderer to write one agent's turns in another's words.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from spadework.core.errors import InputError
from spadework.rewards.transcript import turn_records
from spadework.tasks.task import Task
from spadework.trajectories.tree import Group, Status, Trajectory

__all__ = ["Chosen", "best_of", "process_fault"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a rejection sampling kept."""

    kept: list[Trajectory] = field(default_factory=list)
    """In the order of the groups, the best of a group first."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Attempts by the reason for which they were dropped. `surplus`: good, but others of the group were shorter."""
    unsolved: list[str] = field(default_factory=list)
    """Keys of groups of which nothing was kept."""


def best_of(groups: Iterable[Group], tasks: Mapping[str, Task], *, reward: float = 1.0, keep: int = 1) -> Chosen:
    """Keep the best attempts of every group.

    Args:
        groups: scored attempts at the same task each.
        tasks: by id; what the attempts were at.
        reward: least reward of a right answer.
        keep: most attempts that are kept of a group. Fewer calls come first, then fewer sampled tokens, then the earlier sample.

    Raises:
        InputError: `keep` is below 1, or a task is missing.
    """
    if keep < 1:
        raise InputError(f"best of n keeps at least 1 attempt per task, not {keep}")
    chosen = Chosen()
    for group in groups:
        good = []
        for trajectory in group:
            if trajectory.task_id not in tasks:
                raise InputError(f"task '{trajectory.task_id}' is not among those that were given; pass the tasks of the rollout")
            fault = _outcome_fault(trajectory, reward) or process_fault(trajectory, tasks[trajectory.task_id])
            if fault:
                chosen.rejected[fault] += 1
            else:
                good.append(trajectory)
        good.sort(key=lambda one: (sum(len(turn.calls) for turn in turn_records(one)), one.num_sampled, one.sample))
        chosen.kept.extend(good[:keep])
        chosen.rejected["surplus"] += len(good[keep:])
        if not good:
            chosen.unsolved.append(group.key)
    return chosen


def _outcome_fault(trajectory: Trajectory, reward: float) -> str:
    if trajectory.status is not Status.COMPLETED:
        return str(trajectory.status)
    return "wrong" if trajectory.reward < reward else ""


def process_fault(trajectory: Trajectory, task: Task) -> str:
    """Why an attempt is no example, whatever its answer; empty if it is one.

    - `malformed`: a turn or a call could not be parsed. `tool error`: a call failed or was never answered.
    - `repeated call`: the same call as before, to the letter.
    - `guessed`: the answer was given before all pages of the task's evidence had been shown.
    """
    turns = turn_records(trajectory)
    said = [message.turn for turn in turns for message in turn.node.messages if message.turn is not None]
    calls = [call for turn in turns for call in turn.calls]
    if any(turn.error for turn in said) or any(call.request.error for call in calls):
        return "malformed"
    if any(call.status != "ok" for call in calls):
        return "tool error"
    if len({call.key for call in calls}) < len(calls):
        return "repeated call"
    return "" if set(task.evidence) <= trajectory.documents() else "guessed"
