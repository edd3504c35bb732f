"""A reward and a rule from outside the package train like those inside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spadework.core.errors import ConfigError
from spadework.core.run import Run
from spadework.pipeline.recipe import Recipe
from spadework.trajectories.tree import Group, Status, Trajectory

EXAMPLES = Path(__file__).parents[1] / "examples"
TINY = [
    "data.train.pages=1000", "data.test.pages=1000", "reading=null", "threads=1", "eval.tasks_per_hop=2", "eval.max_tokens=4",
    "sft.steps=1", "sft.batch_size=1", "sft.demonstrations=2", "rl.steps=1", "rl.tasks_per_step=2", "rl.samples=2",
    "rl.sampling.max_tokens=4", "imports=[own_method]", "rl.rewards={brief: {price: 0.2}}", "rl.credit={rank: {}}", "rl.selection={}",
]  # fmt: skip


def test_a_run_uses_both(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from spadework.cli.main import main; main()", "train", "demo", "--out", str(tmp_path / "run"), *TINY]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(EXAMPLES)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [event] = Run.open(tmp_path / "run").events("rl")
    assert event["reward/brief/mean"] == 0.0


def test_a_module_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ConfigError, match="imports: No module named 'nobody'; install the package"):
        Recipe.parse({"name": "x", "imports": ["nobody"]}, source="recipe")


def test_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from own_method import Rank

    made = Group("t", [Trajectory("t", sample) for sample in range(3)])
    for trajectory, reward in zip(made, (0.0, 5.0, 0.0), strict=True):
        trajectory.add("generation", [1], parent=None, logprobs=[-1.0])
        trajectory.status, trajectory.reward = Status.COMPLETED, reward
    Rank()(made)
    # The best beats both others; each of the other two is beaten once and ties once.
    assert [trajectory.nodes[0].advantages for trajectory in made] == [[-0.5], [1.0], [-0.5]]
