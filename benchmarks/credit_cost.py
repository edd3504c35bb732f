"""What a step costs between rollout and learner: rewards, selection and credit of 1,024 trajectories of 4,000 tokens, for every rule.

Rewards are em, format and economy, and turn-format for the rules that read rewards of turns; selection is zero-variance and truncated. No
library has all rules, so `peer` is the bound that we hold ourselves to. A row is the median of the runs, in time of one core, after a run
that is not measured: memory that a process touches for the first time costs more than all the arithmetic, and in training it is that of the
step before. Not measured here: the rollout, and packing, which is part of the update.
"""

import gc
import random
import time
from itertools import pairwise, product
from statistics import median

from benchmarks.table import Row
from spadework.algorithms.credit.credit import credit_rules
from spadework.algorithms.selection.chain import Chain
from spadework.core.messages import Message, ToolCall, Turn
from spadework.rewards.reward import Rubric
from spadework.tasks.task import Task
from spadework.trajectories.tree import Column, Group, Status, Trajectory

__all__ = ["BOUND", "made_groups", "rows", "seconds"]

BOUND = 0.15
"""Seconds."""
TURNS = 8


def made_groups(tasks: int, samples: int, tokens: int, share: float, *, values: bool = False) -> tuple[list[Task], list[Group]]:
    """Unscored groups of searches that end in an answer, half of them right.

    Args:
        tasks: number of groups.
        samples: trajectories of a group.
        tokens: of a trajectory, in a prompt, turns and results.
        share: of the tokens that are sampled.
        values: whether a critic has estimated them.
    """
    stream = random.Random(0)
    sampled = int(tokens * share) // TURNS
    seen = (tokens - sampled * TURNS) // TURNS
    made = [Task(id=f"t{index}", question="Who is the mayor of Dun?", answers=("Velor Tash",)) for index in range(tasks)]
    return made, [Group(task.id, [_attempt(task, sample, sampled, seen, stream, values) for sample in range(samples)]) for task in made]


def _attempt(task: Task, sample: int, sampled: int, seen: int, stream: random.Random, values: bool) -> Trajectory:
    trajectory = Trajectory(task.id, sample, status=Status.TRUNCATED if sample == 7 else Status.COMPLETED)
    trajectory.answer = stream.choice(["velor tash", "Ondal Brin"])
    trajectory.ledger["calls"] = float(stream.randint(0, TURNS - 1))
    column = [stream.random() for _ in range(sampled)]
    trajectory.add("prompt", list(range(seen)), parent=None)
    words = stream.choices(range(30_000), k=sampled + seen)
    for turn in range(TURNS):
        call = Turn(calls=(ToolCall(name="search", arguments={"query": "mayor of Dun"}),))
        node = trajectory.add(
            "generation",
            words[:sampled],
            parent=len(trajectory.nodes) - 1,
            logprobs=[-value for value in column],
            entropies=column,
            messages=[Message(role="assistant", turn=call)],
        )
        if values:
            node.values = Column(column)
        if turn + 1 < TURNS and seen:
            trajectory.add("observation", words[sampled:], parent=node.id)
    return trajectory


def seconds(name: str, runs: int, *, tasks: int = 128, samples: int = 8, tokens: int = 4000, share: float = 0.25) -> list[list[float]]:
    """Seconds of one core for rewards, for selection and for credit with one rule, per run."""
    rule = credit_rules.build(name)
    made, groups = made_groups(tasks, samples, tokens, share, values="values" in rule.reads)
    terms = {"em": {}, "format": {"weight": 0.1}, "economy": {"weight": 0.2}}
    rubric = Rubric.build(terms | ({"turn-format": {}} if "turn_rewards" in rule.reads | rule.uses else {}))
    chain = Chain.build({"zero-variance": {}, "truncated": {}})
    found = []
    for _ in range(runs + 1):
        gc.collect()
        times = [time.process_time()]
        rubric.score_groups(made, groups)
        times.append(time.process_time())
        kept = chain(groups)
        times.append(time.process_time())
        rule.assign(kept)
        times.append(time.process_time())
        found.append([after - before for before, after in pairwise(times)])
    return found[1:]


def rows(runs: int, *, quick: bool = False) -> list[Row]:
    """A row per rule with a quarter of the tokens sampled, and one with all of them."""
    size = {"tasks": 4, "tokens": 400} if quick else {}
    found = []
    for name, (share, label) in product(credit_rules.names(), {0.25: "a quarter", 1.0: "all"}.items()):
        mine = median(map(sum, seconds(name, runs, share=share, **size)))
        row = f"step_cost/{name}" + ("/all" if share == 1 else "")
        found.append(Row(row, round(1e3 * mine, 1), 1e3 * BOUND, round(BOUND / mine, 2), "ms", runs, f"the bound; {label} sampled"))
    return found
