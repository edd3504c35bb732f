"""Two arms and two seeds at the smallest scale, for real: pairing, equal budgets, what is left behind, a kill, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from spadework.core.config import apply_overrides
from spadework.core.errors import ConfigError, InputError
from spadework.core.progress import Progress
from spadework.core.run import Run
from spadework.pipeline.comparison import run_comparison
from spadework.pipeline.recipe import Recipe
from spadework.viewer.comparison import budget_line, effect_line, write_comparison

LEARNER = {"dtype": "float32"}
BUDGET = 120
VALUES: dict[str, Any] = {
    "name": "plain",
    "threads": 1,
    "data": {"type": "world", "train": {"seed": 1, "pages": 1000, "split": "train"}, "test": {"seed": 2, "pages": 1000, "split": "test"}},
    "model": {"preset": "tiny-1m", "vocab_size": 1200},
    "limits": {"max_turns": 2, "max_tokens": 400},
    "sft": {"steps": 1, "batch_size": 2, "demonstrations": 6, "hops": {1: 1.0}, "learner": LEARNER},
    "rl": {
        "steps": 20, "tasks_per_step": 2, "samples": 2, "checkpoint_every": 2, "hops": {1: 1.0}, "learner": LEARNER,
        "sampling": {"max_tokens": 8}, "rewards": {"em": {"weight": 1.0}}, "selection": {}, "budget": {"tokens": BUDGET},
    },
    "eval": {"tasks_per_hop": 3, "hops": [1, 2], "unseen_hops": [2], "max_tokens": 8},
}  # fmt: skip
CREDIT = "rl.credit={rloo: {}}"


def recipe(*overrides: str) -> Recipe:
    return Recipe.parse(apply_overrides(VALUES, overrides), source="test")


ARMS = [recipe(), recipe("name=other", CREDIT)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("comparisons") / "whole"
    return folder, run_comparison(ARMS, folder, seeds=2)


def test_what_a_comparison_leaves_behind(whole: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = whole
    assert json.loads((folder / "summary.json").read_text()) == json.loads(json.dumps(summary))
    assert (summary["baseline"], summary["seeds"], summary["questions"]) == ("plain", [0, 1], 3), "two hops were not trained on"
    start = Run.open(folder / "cold-start").checkpoints("sft")[-1][1].resolve()
    for name in ("plain", "other"):
        for seed in (0, 1):
            run = Run.open(folder / name / f"seed-{seed}")
            assert run.recipe["model"]["path"] == str(start) and run.recipe["rl"]["seed"] == seed
            assert run.recipe["sft"] is None and run.recipe["seed"] == 0, "data and questions are those of the cold start"
    success = summary["effects"]["other"]["differences"]["success"]
    assert (success["n"], success["mean"], summary["effects"]["other"]["verdict"]) == (2, 0.0, "none")
    assert [row["key"] for row in summary["separates"]] == ["rl.credit.grpo", "rl.credit.rloo"]


def test_seeds_are_paired_and_differ(whole: tuple[Path, dict[str, Any]]) -> None:
    def first(name: str, seed: int) -> float:
        return Run.open(whole[0] / name / f"seed-{seed}").events("rl")[0]["actor/entropy"]

    # The same weights, tasks and streams: the first step samples the same tokens in both arms, and others with another seed.
    assert first("plain", 0) == first("other", 0) and first("plain", 1) == first("other", 1)
    assert first("plain", 0) != first("plain", 1)


def test_no_run_exceeds_its_budget_by_a_step(whole: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = whole
    for name, arm in summary["arms"].items():
        for row in arm["runs"]:
            events = Run.open(folder / name / f"seed-{row['seed']}").events("rl")
            spent = [event["spent/tokens"] for event in events]
            assert len(events) >= 2 and spent[-2] < BUDGET <= spent[-1] == row["tokens"]
            assert row["budget_share"] == spent[-1] / BUDGET and row["budget_share"] - row["last_step_share"] < 1
    equal, words = budget_line(summary)
    assert equal and words.startswith("Every run spent its budget of 120 tokens")


def test_killed_it_goes_on_and_keeps_what_is_finished(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, seen = Progress.advance, []

    def kill(self: Progress, count: int = 1, note: str = "") -> None:
        advance(self, count, note)
        if self.description == "rl":
            seen.append(self.done)
            # In the second run, after its first checkpoint.
            if len(seen) > 3 and seen[-1] == 2 and seen.count(2) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "advance", kill)
    folder = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        run_comparison(ARMS, folder, seeds=2)
    monkeypatch.setattr(Progress, "advance", advance)
    assert [path.parent.parent.name for path in folder.glob("*/seed-*/summary.json")] == ["plain"]
    kept = (folder / "plain/seed-0/summary.json").stat().st_mtime_ns
    with pytest.raises(InputError, match="already holds a comparison; add --resume"):
        run_comparison(ARMS, folder, seeds=2)
    summary = run_comparison(ARMS, folder, seeds=2, resume=True)
    assert (folder / "plain/seed-0/summary.json").stat().st_mtime_ns == kept, "a finished run is kept"

    def results(of: dict[str, Any]) -> Any:
        timeless = [[{k: v for k, v in run.items() if k != "seconds"} for run in arm["runs"]] for arm in of["arms"].values()]
        return timeless, of["effects"]

    assert results(summary) == results(whole[1])


def test_processes_give_the_same_and_a_cold_start_can_be_shared(whole: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    start = whole[0] / "cold-start"
    summary = run_comparison(ARMS, tmp_path / "jobs", seeds=2, jobs=2, cold_start=start)
    assert summary["effects"] == whole[1]["effects"] and not (tmp_path / "jobs/cold-start").exists()
    assert [run["tokens"] for run in summary["arms"]["other"]["runs"]] == [run["tokens"] for run in whole[1]["arms"]["other"]["runs"]]
    assert (tmp_path / "jobs/other/seed-1.log").is_file()


def test_arms_that_do_not_fit_are_refused_before_anything_starts(whole: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    def refuse(match: str, *arms: Recipe, **options: Any) -> None:
        with pytest.raises(InputError, match=match):
            run_comparison(arms, tmp_path / "no", **options)
        assert not (tmp_path / "no").exists()

    refuse(r"'plain' and 'other' differ in 'sft\.steps'", recipe(), recipe("name=other", "sft.steps=2"))
    refuse(r"differ in 'data\.test\.pages'", recipe(), recipe("name=other", "data.test.pages=1100"))
    refuse("two arms are called 'plain'", recipe(), recipe(CREDIT))
    refuse("different budgets", recipe(), recipe("name=other", "rl.budget={tokens: 9}"))
    refuse("'other' has no RL stage", recipe(), recipe("name=other", "rl=null"))
    refuse("an arm's name is a folder's", recipe(), recipe("name=a/b"))
    refuse("two recipes and two seeds", recipe())
    refuse("two recipes and two seeds", *ARMS, seeds=1)
    refuse("was made with another 'sft.steps'", *(r.model_copy(update={"sft": recipe("sft.steps=2").sft}) for r in ARMS),
           cold_start=whole[0] / "cold-start")  # fmt: skip
    refuse("not a run folder", *ARMS, cold_start=tmp_path / "nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").touch()
    with pytest.raises(InputError, match="not empty and not a comparison"):
        run_comparison(ARMS, tmp_path / "full")
    with pytest.raises(ConfigError, match=r"'rl\.credit\.grpo' differs|'rl\.credit"):
        run_comparison([recipe(CREDIT), recipe("name=other")], whole[0], seeds=2, resume=True)


def test_steps_that_end_before_the_budget_are_said(whole: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    few = [recipe("rl.steps=1"), recipe("name=other", "rl.steps=1", CREDIT)]
    summary = run_comparison(few, tmp_path / "few", seeds=2, cold_start=whole[0] / "cold-start")
    equal, words = budget_line(summary)
    assert (
        not equal and "Budgets were not equal: 4 of 4 runs ended before their budget of 120 tokens" in words and "Raise rl.steps" in words
    )
    page = write_comparison(tmp_path / "few").read_text()
    assert "Budgets were not equal" in page and effect_line(summary, "other") in page
