"""Our advantages beside those of TRL's own code, cut out of its trainers and executed as it stands."""

import ast
import importlib.util
import random
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from spadework.algorithms.credit.batch_std import BatchStd
from spadework.algorithms.credit.credit import CreditRule
from spadework.algorithms.credit.dr_grpo import DrGRPO
from spadework.algorithms.credit.gdpo import GDPO
from spadework.algorithms.credit.grpo import GRPO
from spadework.algorithms.credit.rloo import RLOO
from spadework.trajectories.tree import Group, Status, Trajectory


def source(module: str) -> str:
    found = importlib.util.find_spec("trl")
    if found is None or found.origin is None:
        pytest.skip("trl is not installed")
    return (Path(found.origin).parent / "trainer" / module).read_text()


def nanstd() -> Any:
    text = source("utils.py")
    [function] = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == "nanstd"]
    namespace: dict[str, Any] = {"torch": torch}
    exec(ast.unparse(function), namespace)
    return namespace["nanstd"]


def trl_advantages(module: str, first: str, rewards: list[list[Any]], **options: Any) -> list[float]:
    """Run the lines from `first` to the one that replaces nan advantages. A reward may be a tuple, one per objective."""
    lines = source(module).splitlines()
    starts = [number for number, line in enumerate(lines) if line.strip().startswith(first)]
    stops = [number for number, line in enumerate(lines) if line.strip().startswith("advantages = torch.nan_to_num(advantages")]
    if len(starts) != 1 or len(stops) != 1:
        pytest.skip(f"this version of trl computes advantages elsewhere than in {module}")
    block = lines[starts[0] : stops[0] + 1]
    code = ast.parse(textwrap.dedent("\n".join(block)))
    table = torch.tensor(rewards, dtype=torch.float64)
    table = table.flatten(0, 1) if table.dim() == 3 else table.flatten()[:, None]
    namespace = {
        "torch": torch,
        "nanstd": nanstd(),
        "device": "cpu",
        "rewards": table[:, 0],
        "rewards_per_func": table,
        "unscorable_mask": torch.zeros(len(table), dtype=torch.bool),
        "num_generations": len(rewards[0]),
        "self": SimpleNamespace(reward_funcs=[None] * table.shape[1], **options),
    }
    exec(compile(code, module, "exec"), namespace)
    return namespace["advantages"].tolist()


def ours(rule: CreditRule, rewards: list[list[Any]], weights: tuple[float, ...] = (1.0,)) -> list[float]:
    names = dict(zip("abc", weights, strict=False))
    groups = []
    for key, row in enumerate(rewards):
        group = Group(str(key), [Trajectory("t", sample, status=Status.COMPLETED, weights=names) for sample in range(len(row))])
        for trajectory, values in zip(group, row, strict=True):
            trajectory.rewards = dict(zip(names, values if isinstance(values, tuple) else (values,), strict=True))
            trajectory.reward = sum(names[name] * value for name, value in trajectory.rewards.items())
            trajectory.add("generation", [1], parent=None, logprobs=[-1.0])
        groups.append(group)
    rule.assign(groups)
    return [trajectory.nodes[0].advantages[0] for group in groups for trajectory in group]


BATCHES = [
    [[1.0, 0.0, 0.0, 1.0], [0.5, 0.25, 2.0, -1.0]],
    [[1.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]],
    [[random.Random(seed).uniform(-1, 1) for seed in range(8 * g, 8 * g + 8)] for g in range(4)],
]


@pytest.mark.parametrize("rewards", BATCHES)
@pytest.mark.parametrize(
    ("rule", "scale"),
    [
        pytest.param(GRPO(epsilon=1e-4), "group", id="grpo, dapo, cispo, gspo"),  # these differ in their loss alone
        pytest.param(DrGRPO(), "none", id="dr_grpo"),
        pytest.param(BatchStd(epsilon=1e-4), "batch", id="batch"),
    ],
)
def test_grpo_trainer(rule: CreditRule, scale: str, rewards: list[list[float]]) -> None:
    options = {"scale_rewards": scale, "multi_objective_aggregation": "sum_then_normalize", "reward_weights": torch.ones(1)}
    found = trl_advantages("grpo_trainer.py", 'if self.multi_objective_aggregation == "sum_then_normalize"', rewards, **options)
    assert ours(rule, rewards) == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize("rewards", BATCHES)
def test_rloo_trainer(rewards: list[list[float]]) -> None:
    found = trl_advantages("rloo_trainer.py", "grouped_rewards = rewards.view(-1, num_generations)", rewards, normalize_advantages=False)
    assert ours(RLOO(), rewards) == pytest.approx(found, abs=1e-6)


OBJECTIVES = [
    [[(1.0, 0.0), (0.0, 3.0), (0.0, 1.0)], [(1.0, 1.0), (1.0, 0.0), (1.0, 2.0)]],
    [[(random.Random(n).random(), 10 * random.Random(n + 99).random()) for n in range(4 * g, 4 * g + 4)] for g in range(3)],
]


@pytest.mark.parametrize("rewards", OBJECTIVES)
@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, -0.25)])
def test_grpo_trainer_with_several_objectives(rewards: list[list[Any]], weights: tuple[float, ...]) -> None:
    options = {"multi_objective_aggregation": "normalize_then_sum", "reward_weights": torch.tensor(weights, dtype=torch.float64)}
    found = trl_advantages("grpo_trainer.py", 'if self.multi_objective_aggregation == "sum_then_normalize"', rewards, **options)
    assert ours(GDPO(epsilon=1e-4), rewards, weights) == pytest.approx(found, abs=1e-6)
