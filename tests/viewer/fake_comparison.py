"""A synthetic comparison folder, to develop its page and the Pareto page without training. Run as a script to write one.

python tests/viewer/fake_comparison.py FOLDER
"""

import json
import math
import sys
from pathlib import Path
from random import Random
from typing import Any

import yaml

from spadework.evals.arms import arm_effects, arm_figures
from spadework.evals.metrics import Question

BUDGET = 200_000


def questions(rng: Random, success: float, calls: float, count: int = 150) -> list[Question]:
    return [
        Question(
            id=f"q{number:03d}", hops=1 + number % 3, attempts=1, scored=1, truncated=0.0, broken=0.0,
            success=float(rng.random() < success), calls=float(max(1, round(rng.gauss(calls, 1)))), tokens=20.0 * calls + rng.gauss(0, 5),
            evidence_recall=min(1.0, max(0.0, rng.gauss(success, 0.2))),
        )
        for number in range(count)
    ]  # fmt: skip


def write_run(rng: Random, folder: Path, success: float, calls: float, budget: int) -> dict[str, Any]:
    """A run's recipe, manifest and events; what its row in the summary says."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"name": folder.parent.name, "seed": 0, "eval": {"tasks_per_hop": 50}}))
    (folder / "manifest.json").write_text(json.dumps({"hashes": {"test_world": "5f2c9a1be0d34c77"}}))
    spent, step, lines, before = 0.0, 0, [], 0.0
    while spent < budget:
        step, before = step + 1, spent
        rise = 1 - math.exp(-step / 10)
        spent += rng.gauss(7000, 500)
        event = {"stage": "rl", "step": step, "spent/tokens": spent, "spent/calls": spent / 20, "timing_s/step": 9.5,
                 "success": min(1.0, max(0.0, 0.4 + (success - 0.4) * rise + rng.gauss(0, 0.03))),
                 "num_calls/mean": calls + (1 - rise) + rng.gauss(0, 0.1), "response_length/mean": 60 + rng.gauss(0, 3)}  # fmt: skip
        lines.append(json.dumps(event) + "\n")
    (folder / "events.jsonl").write_text("".join(lines))
    return {
        "seed": int(folder.name.removeprefix("seed-")),
        "folder": f"{folder.parent.name}/{folder.name}",
        "steps": step,
        "tokens": spent,
        "calls": spent / 20,
        "seconds": 9.5 * step,
        "budget_share": spent / BUDGET,
        "last_step_share": (spent - before) / BUDGET,
    }


def write_fake_comparison(
    path: Path, arms: dict[str, tuple[float, float]] | None = None, *, seeds: int = 5, budget: int = BUDGET
) -> dict[str, Any]:
    """Write a comparison folder.

    Args:
        path: the folder.
        arms: success and calls per question by name, the baseline first.
        seeds: per arm.
        budget: what runs really spend; less than `BUDGET` plays steps that ended first.
    """
    rng = Random(7)
    arms = arms or {"grpo": (0.74, 2.9), "arpo": (0.84, 2.2), "gigpo": (0.75, 2.6)}
    results: dict[str, dict[int, list[Question]]] = {name: {} for name in arms}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for name, (success, calls) in arms.items():
        for seed in range(seeds):
            level = min(1.0, success + rng.gauss(0, 0.02))
            results[name][seed] = questions(Random(seed), level, calls)
            row = write_run(rng, path / name / f"seed-{seed}", level, calls, budget)
            runs[name].append(row | {"success": sum(q.success for q in results[name][seed]) / 150})
    baseline = next(iter(arms))
    summary = {
        "kind": "comparison",
        "baseline": baseline,
        "seeds": list(range(seeds)),
        "questions": 150,
        "budget": {"tokens": BUDGET},
        "cold_start": {"checkpoint": "cold-start/checkpoints/sft-000700", "success": 0.4, "calls": 3.1, "calls_per_solved": 7.7,
                       "tokens": 62.0, "evidence_recall": 0.6},
        "arms": {
            name: {
                "description": f"What {name} does.",
                "figures": {key: value and value.model_dump(mode="json") for key, value in arm_figures(results[name]).items()},
                "runs": runs[name],
            }
            for name in arms
        },
        "effects": {name: effect.model_dump(mode="json") for name, effect in arm_effects(results, baseline).items()},
        "separates": [{"key": f"rl.credit.{name}", "values": {other: {} if other == name else None for other in arms}} for name in arms],
    }  # fmt: skip
    (path / "comparison.json").write_text(json.dumps({"baseline": baseline}))
    (path / "summary.json").write_text(json.dumps(summary))
    return summary


if __name__ == "__main__":
    from spadework.viewer.comparison import write_comparison

    folder = Path(sys.argv[1])
    write_fake_comparison(folder)
    print(write_comparison(folder))
