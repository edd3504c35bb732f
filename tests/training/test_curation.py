"""Live curation: pools and refreshes by hand, the store, and the closed loop on policies of known skill."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from spadework.core.errors import ConfigError
from spadework.core.events import read_events
from spadework.core.seeds import rng
from spadework.pipeline.data import TaskPool
from spadework.tasks.task import Task
from spadework.training.curation import Curation, PassRates, right_attempts
from spadework.training.stages import RLStage
from spadework.trajectories.tree import Group, Status, Trajectory

TASKS = [Task(id=f"t{number}", question="?", answers=("a",)) for number in range(40)]


def group(task: Task, rewards: Sequence[float | None]) -> Group:
    """Scored attempts; None is a broken one."""
    made = [
        Trajectory(task.id, sample, status=Status.BROKEN if reward is None else Status.COMPLETED, reward=reward or 0.0)
        for sample, reward in enumerate(rewards)
    ]
    return Group(task.id, made)


def test_right_attempts_by_hand() -> None:
    assert right_attempts(group(TASKS[0], [1.0, 0.5, 0.4, None]), 0.5) == (2, 3)


def test_pools_by_hand(tmp_path: Path) -> None:
    rates = PassRates(tmp_path / "rates.jsonl", Curation(refresh=2, forget=3))
    found = rates.observe(
        1, TASKS[:4], [group(TASKS[0], [0, 0]), group(TASKS[1], [1, 0]), group(TASKS[2], [1, 1]), group(TASKS[3], [None])]
    )
    # One of each; the fourth was broken and tells nothing. Not yet refreshed: that is due after two steps.
    assert found == {"curation/too_hard": 1, "curation/right": 1, "curation/mastered": 1, "curation/refreshed": 0}
    assert rates.pool == frozenset()
    assert rates.observe(2, TASKS[4:5], [group(TASKS[4], [0, 1])])["curation/refreshed"] == 1
    assert rates.pool == {"t1", "t4"}
    # Step 4 is three steps after step 1, whose pass rates are too old now.
    rates.observe(3, [], [])
    assert rates.observe(4, TASKS[4:5], [group(TASKS[4], [1, 1])])["curation/mastered"] == 1
    assert rates.pools() == {"too_hard": [], "right": [], "mastered": ["t4"]} and rates.pool == frozenset()


def test_a_stalled_reward_refreshes_early(tmp_path: Path) -> None:
    rates = PassRates(tmp_path / "rates.jsonl", Curation(refresh=100, patience=2))
    # Mean rewards 0.5, 0.5, 1, 0.5, 0.5: 1 + 0.5 is above 0.5 + 0.5; then 0.5 + 0.5 is not above 0.5 + 1.
    rewards = ([0, 1], [0, 1], [1, 1], [0, 1], [0, 1])
    refreshed = [rates.observe(step, TASKS[:1], [group(TASKS[0], each)])["curation/refreshed"] for step, each in enumerate(rewards, 1)]
    assert refreshed == [0, 0, 0, 0, 1] and rates.pool == {"t0"}


def test_draws_come_from_the_right_pool_and_from_fresh_tasks(tmp_path: Path) -> None:
    rates = PassRates(tmp_path / "rates.jsonl", Curation(refresh=1, fresh=0.25))
    rates.observe(1, TASKS[:30], [group(task, [0, 0] if number < 10 else [1, number < 20]) for number, task in enumerate(TASKS[:30])])
    # t20 to t29 are right, t30 to t39 were not tried.
    assert rates.pool == {f"t{number}" for number in range(20, 30)}
    stream = Random(0)
    drawn = [int(rates.pick(stream, 1, TASKS).id[1:]) for _ in range(2_000)]
    assert set(drawn) == set(range(20, 40))
    # A quarter of 2,000 is 500; five standard deviations are 5 * sqrt(2000 * 0.25 * 0.75) = 97.
    assert abs(sum(number >= 30 for number in drawn) - 500) < 97


def test_there_are_always_enough_tasks(tmp_path: Path) -> None:
    rates = PassRates(tmp_path / "rates.jsonl", Curation(refresh=1))
    pool = TaskPool({1: TASKS}, None, rates)
    rates.observe(1, TASKS[:39], [group(task, [1, 1]) for task in TASKS[:39]])
    assert len({task.id for task in pool.draw(Random(0), 40)}) == 40


def test_a_resumed_run_draws_what_the_unbroken_one_draws(tmp_path: Path) -> None:
    def train(path: Path, start: int, stop: int) -> list[list[str]]:
        rates = PassRates(path, Curation(refresh=3, patience=1), start)
        pool = TaskPool({1: TASKS}, None, rates)
        drawn = []
        for step in range(start + 1, stop + 1):
            tasks = pool.draw(rng("draw", step), 6)
            skill = rng("skill", step)
            rates.observe(step, tasks, [group(task, [float(skill.random() < 0.4) for _ in range(4)]) for task in tasks])
            drawn.append([task.id for task in tasks])
        return drawn

    unbroken = train(tmp_path / "one.jsonl", 0, 12)
    # Killed after step 8; the last checkpoint is of step 5.
    assert train(tmp_path / "two.jsonl", 0, 8) == unbroken[:8]
    with (tmp_path / "two.jsonl").open("a") as file:
        file.write('{"step": 9, "rew')
    assert train(tmp_path / "two.jsonl", 5, 12) == unbroken[5:]
    assert read_events(tmp_path / "two.jsonl") == read_events(tmp_path / "one.jsonl")


def test_curation_raises_the_share_of_groups_with_variance(tmp_path: Path) -> None:
    # 600 tasks: the policy solves 45 % of them never, 45 % always and 10 % half of the time. Of uniform draws 10 % * (1 - 2 / 2^8) vary.
    tasks = [Task(id=f"q{number}", question="?", answers=("a",)) for number in range(600)]
    skill = {task.id: 0.5 if number % 10 == 0 else float(number % 2) for number, task in enumerate(tasks)}

    def share(rates: PassRates | None) -> float:
        pool, varied = TaskPool({1: tasks}, None, rates), 0
        for step in range(1, 41):
            drawn = pool.draw(rng("draw", step), 24)
            stream = rng("attempts", step)
            groups = [group(task, [float(stream.random() < skill[task.id]) for _ in range(8)]) for task in drawn]
            varied += sum(len({trajectory.reward for trajectory in each}) > 1 for each in groups)
            if rates is not None:
                rates.observe(step, drawn, groups)
        return varied / (40 * 24)

    uniform, curated = share(None), share(PassRates(tmp_path / "rates.jsonl", Curation()))
    assert uniform < 0.15 and curated > 3 * uniform


def test_settings_are_checked() -> None:
    assert RLStage.parse({"curation": {"fresh": 0.5}}, source="rl").curation == Curation(fresh=0.5)
    with pytest.raises(ConfigError, match=r"curation\.fresh"):
        RLStage.parse({"curation": {"fresh": 0}}, source="rl")
    with pytest.raises(ConfigError, match="did you mean 'refresh'"):
        RLStage.parse({"curation": {"refreshed": 3}}, source="rl")
