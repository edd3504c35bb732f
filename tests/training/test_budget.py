"""Budgets by hand: shares, sums over trajectories, and what a log without sums is told."""

from pathlib import Path

import pytest

from spadework.core.errors import ConfigError, InputError
from spadework.core.run import Run
from spadework.rollout.forest import forest_metrics
from spadework.training.budget import Budget, add_spending, spent_until
from spadework.training.stages import RLStage
from spadework.trajectories.tree import Status, Trajectory


def trajectory(tokens: int, calls: float, status: Status = Status.COMPLETED) -> Trajectory:
    made = Trajectory("task", 0, status=status, ledger={"calls": calls})
    made.add("prompt", [1, 2, 3], parent=None)
    made.add("generation", [4] * tokens, parent=0, logprobs=[-1.0] * tokens)
    return made


def test_the_stage_is_as_far_as_its_steps_or_its_budget() -> None:
    stage = RLStage(steps=10, budget=Budget(tokens=200, calls=50))
    assert stage.done(0, {"tokens": 0, "calls": 0}) == 0
    assert stage.done(4, {"tokens": 60, "calls": 10}) == 0.4, "4 of 10 steps, 0.3 of the tokens, 0.2 of the calls"
    assert stage.done(4, {"tokens": 100, "calls": 40}) == 0.8, "40 of 50 calls"
    assert stage.done(4, {"tokens": 201, "calls": 40}) > 1
    assert RLStage(steps=10).done(10, {"tokens": 1e9, "calls": 1e9}) == 1


def test_what_was_sampled_is_spent_even_if_it_broke() -> None:
    group = [trajectory(7, 2), trajectory(3, 4, Status.BROKEN)]
    spent = add_spending({"tokens": 5.0, "calls": 1.0}, forest_metrics([group]))
    assert spent == {"tokens": 15.0, "calls": 7.0}, "5 + 7 + 3 sampled tokens, prompts are not; 1 + 2 + 4 calls"


def test_the_sums_come_back_from_the_log(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    assert spent_until(run, 0) == {"tokens": 0.0, "calls": 0.0}
    run.event("rl", 1, **{"spent/tokens": 10.0, "spent/calls": 2.0})
    run.event("rl", 2, **{"spent/tokens": 25.0, "spent/calls": 3.0})
    assert spent_until(run, 2) == {"tokens": 25.0, "calls": 3.0}
    run.event("rl", 3, loss=1.0)
    with pytest.raises(InputError, match="RL step 3 has no 'spent/tokens'"):
        spent_until(run, 3)


def test_a_budget_of_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError, match="a budget needs tokens or calls"):
        RLStage.parse({"budget": {}}, source="rl")
    with pytest.raises(ConfigError, match="greater than 0"):
        RLStage.parse({"budget": {"tokens": 0}}, source="rl")
    with pytest.raises(ConfigError, match=r"unknown key 'budget\.seconds'"):
        RLStage.parse({"budget": {"seconds": 5}}, source="rl")
