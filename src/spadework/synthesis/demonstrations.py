"""Trajectories for a cold start from a policy: best of n, by rejection sampling.

Any policy that an engine serves rolls out n attempts per task through the real tools (`rollout/groups.py`), and `best_of` keeps those that
are worth imitating: right, and made without a fault (`curation/process.py`). Trained on what a policy gets right itself, by SFT, this is
STaR (arXiv 2203.14465), RFT (2308.01825), and the cold start of WebDancer and WebSailor (2505.22648, 2507.02592), whose policy is a
stronger model. Of several the shortest come first, because imitation learns length too, and none that makes the same calls as another
(RFT keeps different paths). What is kept is trained on as it was sampled: no token is written anew, so a flaw that no filter names stays.

The other source of demonstrations, the scripted expert with its named faults and rates, is `agents/expert.py`. Not done: STaR's second try
with the answer as a hint.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from spadework.core.errors import InputError
from spadework.rewards.transcript import turn_records
from spadework.synthesis.curation.process import ProcessFilter
from spadework.tasks.task import Task
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["Chosen", "best_of"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a rejection sampling kept."""

    kept: list[Trajectory] = field(default_factory=list)
    """In the order of the groups, the best of a group first."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Attempts by the first fault for which they were dropped. `surplus`: good, but others of the group were better or the same."""
    unsolved: list[str] = field(default_factory=list)
    """Keys of groups of which nothing was kept."""


def best_of(groups: Iterable[Group], tasks: Mapping[str, Task], *, keep: int = 1, process: ProcessFilter | None = None) -> Chosen:
    """Keep the best attempts of every group.

    Args:
        groups: attempts at the same task each.
        tasks: by id; what the attempts were at.
        keep: most attempts that are kept of a group. Fewer calls come first, then fewer sampled tokens, then the earlier sample.
        process: what a fault is; the filter's defaults if None.

    Raises:
        InputError: `keep` is below 1, or a task is missing.
    """
    if keep < 1:
        raise InputError(f"best of n keeps at least 1 attempt per task, not {keep}")
    process = process or ProcessFilter()
    chosen = Chosen()
    for group in groups:
        good: list[tuple[int, int, int, tuple[str, ...], Trajectory]] = []
        for trajectory in group:
            if trajectory.task_id not in tasks:
                raise InputError(f"task '{trajectory.task_id}' is not among those that were given; pass the tasks of the rollout")
            if faults := process.faults(tasks[trajectory.task_id], trajectory):
                chosen.rejected[faults[0].kind] += 1
            else:
                calls = tuple(call.key for turn in turn_records(trajectory) for call in turn.calls)
                good.append((len(calls), trajectory.num_sampled, trajectory.sample, calls, trajectory))
        good.sort(key=lambda one: one[:3])
        different: dict[tuple[str, ...], Trajectory] = {}
        for *_, calls, trajectory in good:
            different.setdefault(calls, trajectory)
        chosen.kept.extend(list(different.values())[:keep])
        chosen.rejected["surplus"] += len(good) - min(len(different), keep)
        if not good:
            chosen.unsolved.append(group.key)
    return chosen
