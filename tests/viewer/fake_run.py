"""A synthetic run folder that looks like a real one, to develop the viewer against. Run as a script to write one.

    python tests/viewer/fake_run.py FOLDER

The policies are dice: the cold start stops early, wastes searches and picks namesakes more often than the policy after RL. Results in
`summary.json` are made up to fit, not computed from the trajectories.
"""

import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import yaml

from spadework.core.messages import Message, ToolCall, Turn
from spadework.tasks.task import Task
from spadework.trajectories.store import Record, write_records
from spadework.trajectories.tree import Status, Trajectory

RELATIONS = ("mayor", "birthplace", "employer", "river", "founder", "headquarters", "spouse", "capital")
SYLLABLES = ["ba", "be", "do", "fi", "ga", "ke", "lu", "ma", "ne", "or", "pi", "ru", "sa", "te", "vo", "zu"]
HOPS = (1, 2, 3, 4)


class FakeVocabulary:
    """Words to ids in the order of first use; `decode` is what a report asks for."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        return [self.ids.setdefault(piece, len(self.ids)) for piece in re.findall(r"\n|\s?[^\s]+", text)]

    def decode(self, token: int) -> str:
        return list(self.ids)[token]


def name(rng: Random) -> str:
    return " ".join("".join(rng.choice(SYLLABLES) for _ in range(2)).capitalize() for _ in range(2))


def page(rng: Random, title: str, relation: str, value: str) -> str:
    others = [f"{other}: {name(rng)}" for other in rng.sample(RELATIONS, 4) if other != relation]
    lines = [*others[:2], f"{relation}: {value}", *others[2:]]
    intro = f"{title} is listed in the register of the northern districts and was last described in {rng.randrange(1700, 1990)}."
    return f"# {title}\n{intro}\n" + "\n".join(lines)


def make_task(rng: Random, number: int) -> Task:
    hops = HOPS[number % len(HOPS)]
    chain = [name(rng) for _ in range(hops + 1)]
    relations = [rng.choice(RELATIONS) for _ in range(hops)]
    question = "What is " + "'s ".join([chain[0], *relations]) + "?"
    return Task(
        id=f"task-{number:04d}",
        question=question,
        answers=(chain[-1],),
        evidence=tuple(f"page-{number}-{hop}" for hop in range(hops)),
        hops=hops,
        source="world 5f2c9a1be0d3",
        meta={"steps": relations, "chain": chain},
    )


def generate(trajectory: Trajectory, text: str, turn: Turn, vocabulary: FakeVocabulary, rng: Random) -> None:
    ids = vocabulary.encode(text)
    trajectory.add(
        "generation",
        ids,
        parent=len(trajectory.nodes) - 1,
        logprobs=[round(-rng.expovariate(3.5), 4) for _ in ids],
        entropies=[round(abs(rng.gauss(0.3, 0.35)), 4) for _ in ids],
        version=59,
        messages=[Message(role="assistant", content=text, turn=turn)],
        meta={"finish": "stop"},
    )


def make_trajectory(task: Task, skill: float, waste: float, vocabulary: FakeVocabulary, rng: Random, sample: int = 0) -> Trajectory:
    """Follow the chain; each hop goes wrong with 1 - skill, searches are wasted with `waste`."""
    trajectory = Trajectory(task.id, sample)
    system = "You are a researcher. Think, search, then answer. Quote the line that supports each step."
    opening = [Message(role="system", content=system), Message(role="user", content=task.question)]
    trajectory.add("prompt", vocabulary.encode(f"<system> {system}\n<user> {task.question}\n<assistant>\n"), parent=None, messages=opening)
    chain, relations = task.meta["chain"], task.meta["steps"]
    at, right, calls, errors = chain[0], True, 0, 0
    for hop, relation in enumerate(relations):
        for attempt in range(1 + (rng.random() < waste) + (rng.random() < waste / 2)):
            bad = rng.random() < 0.03
            thought = f"I need the {relation} of {at}." if attempt == 0 else f"Let me check {at} again to be sure."
            arguments = {} if bad else {"query": f"{at} {relation}"}
            call = ToolCall(name="search", arguments=arguments, error="unclosed tag <search>" if bad else None)
            text = f"<think> {thought} </think>\n<search> {at} {relation} </search>\n"
            generate(trajectory, text, Turn(thought=thought, calls=(call,)), vocabulary, rng)
            calls, errors = calls + 1, errors + bad
            value = chain[hop + 1] if right else name(rng)
            namesake = f"{at.split()[0]} {name(rng).split()[0]}"
            found = page(rng, at, relation, value) + "\n\n" + page(rng, namesake, relation, name(rng))
            found = "The call could not be read: unclosed tag <search>." if bad else found
            shown = [task.evidence[hop]] if right and not bad else []
            meta = {
                "calls": [{"tool": "search", "status": "error" if bad else "ok", "seconds": 0.0, "documents": shown}],
                "documents": shown,
            }
            ids = vocabulary.encode(f"<result>\n{found}\n</result>\n")
            result = Message(role="tool", name="search", content=found)
            trajectory.add("observation", ids, parent=len(trajectory.nodes) - 1, messages=[result], meta=meta)
        right = right and rng.random() < skill
        at = chain[hop + 1] if right else name(rng)
        if rng.random() < waste / 6:
            break
    trajectory.status = Status.TRUNCATED if rng.random() < 0.04 else Status.COMPLETED
    if trajectory.status is Status.COMPLETED:
        thought = f"{relations[-1]}: {at}"
        text = f"<think> {thought} </think>\n<answer> {at} </answer>"
        generate(trajectory, text, Turn(thought=thought, answer=at), vocabulary, rng)
        trajectory.answer = at
    else:
        trajectory.error = "the budget of 12 calls ran out"
    solved = float(trajectory.answer == chain[-1])
    trajectory.rewards = {"em": solved, "economy": round(-0.02 * calls, 4), "format": float(not errors)}
    trajectory.reward = round(solved - 0.02 * calls, 4)
    trajectory.ledger = {"calls": calls, "calls/search": calls, "errors": errors, "tokens": trajectory.num_sampled}
    return trajectory


def set_advantages(group: list[Trajectory]) -> None:
    mean = sum(trajectory.reward for trajectory in group) / len(group)
    spread = math.sqrt(sum((trajectory.reward - mean) ** 2 for trajectory in group) / len(group)) or 1.0
    for trajectory in group:
        trajectory.set_advantage((trajectory.reward - mean) / spread)


def share(mean: float, n: int) -> dict[str, float]:
    half = 1.96 * math.sqrt(mean * (1 - mean) / n)
    return {"mean": round(mean, 4), "low": round(max(0, mean - half), 4), "high": round(min(1, mean + half), 4), "n": n}


def around(mean: float, half: float, n: int) -> dict[str, float]:
    return {"mean": mean, "low": round(mean - half, 4), "high": round(mean + half, 4), "n": n}


def make_stage(success: Sequence[float], calls: float, seconds: float, tokens: int, recall: float, errors: float) -> dict[str, Any]:
    mean = sum(success[:3]) / 3
    return {
        "seconds": seconds,
        "trained_tokens": tokens,
        "tokens": around(62.0, 3.0, 300),
        "success": share(mean, 300),
        "success_by_hops": {str(hops): share(value, 100) for hops, value in zip(HOPS, success, strict=True)},
        "calls": around(calls, 0.13, 300),
        "calls_per_solved": around(round(calls / mean, 3), 0.5, 300),
        "f1": share(min(1.0, mean + 0.04), 300),
        "evidence_recall": share(recall, 300),
        "format_errors": around(errors, errors / 3, 300),
    }


def make_events(rng: Random, stages: Sequence[str]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    clock = 0.0
    for stage, steps, start, end in (("reading", 420, 6.4, 0.55), ("sft", 300, 2.2, 0.34)):
        for step in range(1, steps + 1) if stage in stages else ():
            loss = end + (start - end) * math.exp(-step / (steps / 7)) + abs(rng.gauss(0, 0.03))
            clock += 0.5
            events.append({"stage": stage, "step": step, "time": clock, "loss": loss, "lr": 4e-3, "tokens": step * 9000})
    for step in range(1, 61) if "rl" in stages else ():
        rise = 1 - math.exp(-step / 22)
        clock += 3.8
        events.append(
            {
                "stage": "rl",
                "step": step,
                "time": clock,
                "loss": rng.gauss(0, 0.01),
                "reward/mean": 0.36 + 0.33 * rise + rng.gauss(0, 0.03),
                "success": min(1, max(0, 0.41 + 0.30 * rise + rng.gauss(0, 0.035))),
                "num_calls/mean": 3.0 - 1.05 * rise + rng.gauss(0, 0.08),
                "actor/entropy": 0.34 - 0.2 * rise + abs(rng.gauss(0, 0.012)),
                "actor/grad_norm": 0.8 + abs(rng.gauss(0, 0.2)) + (3.1 if step == 33 else 0),
                "groups/kept": 0.75 - 0.25 * rise + rng.gauss(0, 0.05),
                "rollout_corr/max_abs_diff": abs(rng.gauss(2e-6, 1e-6)),
                "tokens": 60_000,
            }
        )
    return events


def write_fake_run(
    path: Path, *, stages: Sequence[str] = ("reading", "sft", "rl"), seed: int = 7, tasks: int = 120, trajectories: bool = True
) -> FakeVocabulary:
    """Write a run folder and return its vocabulary.

    Args:
        path: the folder.
        stages: those that were run.
        seed: of everything.
        tasks: number of evaluation tasks whose trajectories are kept.
        trajectories: whether any are kept.
    """
    rng, vocabulary = Random(seed), FakeVocabulary()
    (path / "trajectories").mkdir(parents=True, exist_ok=True)
    recipe = {
        "name": "demo",
        "seed": seed,
        "scale": "tiny",
        "model": {"hidden_size": 192, "layers": 4},
        "eval": {"tasks_per_hop": 100, "unseen_hops": [4]},
        "rl": {"steps": 60, "credit": {"type": "grpo"}, "learning_rate": 5e-4},
    }
    (path / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    manifest = {
        "versions": {"python": "3.11.9", "spadework": "0.1.0", "torch": "2.13.0", "transformers": "5.1.0"},
        "platform": "Linux-6.1-x86_64",
        "cpu_count": 2,
        "commit": "0123abc",
        "seeds": {"run": seed},
        "hashes": {"world": "5f2c9a1be0d34c77"},
        "command": f"spadework demo --out runs/demo --seed {seed}",
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    (path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in make_events(rng, stages)))
    results = {
        "reading": make_stage((0.42, 0.10, 0.04, 0.02), 1.2, 151.0, 2_900_000, 0.31, 0.62),
        "sft": make_stage((0.88, 0.41, 0.36, 0.16), 2.94, 142.0, 3_100_000, 0.63, 0.09),
        "rl": make_stage((0.95, 0.68, 0.61, 0.31), 1.97, 226.0, 3_600_000, 0.79, 0.02),
    }
    summary: dict[str, Any] = {
        "name": "demo",
        "seed": seed,
        "seconds": 561.0,
        "peak_rss_bytes": 1_310_000_000,
        "stages": {name: results[name] for name in stages},
        "parameters": 1_930_000,
        "vocabulary": 1024,
        "data": {"test_world": "5f2c9a1be0d34c77", "train_world": "91be0d34c775f2ca", "pages_train": 6000, "pages_test": 2000},
        "unseen_hops": [4],
    }
    if {"sft", "rl"} <= set(stages):
        summary["gain"] = around(0.197, 0.052, 300)
        summary["gain_by_hops"] = {
            "1": around(0.07, 0.06, 100),
            "2": around(0.27, 0.1, 100),
            "3": around(0.25, 0.11, 100),
            "4": around(0.15, 0.12, 100),
        }
    (path / "summary.json").write_text(json.dumps(summary))
    if trajectories:
        held_out = [make_task(rng, number) for number in range(tasks)]
        for stage, skill, waste in (("sft", 0.72, 0.55), ("rl", 0.93, 0.08)):
            if stage in stages:
                records = [as_record(task, make_trajectory(task, skill, waste, vocabulary, rng)) for task in held_out]
                write_records(path / "trajectories" / f"eval-{stage}.jsonl", records)
        if "rl" in stages:
            write_records(path / "trajectories" / "rl-last.jsonl", make_groups(rng, vocabulary))
    return vocabulary


def make_groups(rng: Random, vocabulary: FakeVocabulary) -> list[Record]:
    records = []
    for number in range(900, 904):
        task = make_task(rng, number)
        group = [make_trajectory(task, 0.8, 0.4, vocabulary, rng, sample) for sample in range(8)]
        set_advantages(group)
        records += [as_record(task, trajectory) for trajectory in group]
    return records


def as_record(task: Task, trajectory: Trajectory) -> Record:
    return Record(trajectory, task.model_dump(mode="json"))


if __name__ == "__main__":
    from spadework.viewer.report import write_report

    folder = Path(sys.argv[1])
    print(write_report(folder, write_fake_run(folder).decode))
