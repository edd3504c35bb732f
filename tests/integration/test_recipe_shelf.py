"""Every recipe on the shelf: it loads at both scales, explains itself, and its RL step runs at tiny scale from a shared cold start."""

from pathlib import Path

import pytest

from spadework.core.run import Run
from spadework.pipeline.chain import run_pipeline
from spadework.pipeline.explain import STAGES, explain, render
from spadework.pipeline.recipe import load_recipe
from spadework.pipeline.scales import find_recipes
from spadework.rewards.judge_server import JudgeServer

SYSTEMS = sorted(name for name in find_recipes() if not name.startswith("demo"))
SMALL = [
    "data.train.pages=1000",
    "data.test.pages=1000",
    "limits={max_turns: 3, max_tokens: 260}",
    "rl.hops={1: 1.0}",
    "rl.sampling.max_tokens=24",
    "eval={tasks_per_hop: 2, hops: [1], unseen_hops: [], max_tokens: 8}",
]


@pytest.fixture(scope="session")
def cold_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after a few steps of SFT, which writes turns that can be read now and then."""
    folder = tmp_path_factory.mktemp("cold") / "run"
    clean = "sft.expert={stop_early: 0, wasted_search: 0, namesake: 0, name_only_query: 0, read_first: 0}"
    short = ["reading=null", "sft.steps=60", "sft.batch_size=8", "sft.demonstrations=100", "sft.hops={1: 1.0}", "model.vocab_size=1000"]
    run_pipeline(load_recipe("search-r1", [*SMALL, *short, clean, "rl=null"]), folder)
    return Run.open(folder).checkpoints("sft")[-1][1]


@pytest.mark.parametrize("scale", ["tiny", "paper"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_it_loads_and_explains_itself(name: str, scale: str) -> None:
    recipe = load_recipe(name, scale=scale)
    assert recipe.name == name and recipe.scale == scale and recipe.description and recipe.source and recipe.source.paper
    assert any(note.startswith("Tiny:") for note in recipe.notes), "says what tiny replaces"
    lines = explain(recipe)
    assert {line.stage for line in lines} == set(STAGES)
    assert all(line.source and line.file for line in lines if line.stage in ("selection", "credit", "loss"))
    for width in (80, 120):
        assert all(len(line) <= width for line in render(recipe, lines, width).splitlines())


@pytest.mark.parametrize("name", SYSTEMS)
def test_tiny_recipes_differ_in_rl_alone(name: str) -> None:
    """At one seed all systems share data, model and cold start."""
    own = {"rl", "name", "description", "source", "notes"}
    assert load_recipe(name).model_dump(exclude=own) == load_recipe("search-r1").model_dump(exclude=own)


@pytest.mark.parametrize("name", SYSTEMS)
def test_three_steps_run_at_tiny_scale(name: str, cold_start: Path, tmp_path: Path) -> None:
    few = ["reading=null", "sft=null", f"model={{preset: null, path: {cold_start}}}", "rl.steps=3", "rl.tasks_per_step=4", "rl.samples=4"]
    recipe = load_recipe(name, [*SMALL, *few])
    summary = run_pipeline(recipe, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    events = run.events("rl")
    assert [event["step"] for event in events] == [1, 2, 3]
    assert all(event["broken"] == 0 for event in events), "nothing breaks, so that every reward has what it reads"
    assert recipe.rl and set(recipe.rl.rewards) <= {key.split("/")[1] for key in events[0] if key.startswith("reward/")}
    assert set(summary["stages"]) == {"rl"} and run.recipe["source"]["paper"] and run.recipe["scale"] == "tiny"


def test_a_judge_of_the_paper_scale_serves_at_tiny_scale(cold_start: Path, tmp_path: Path) -> None:
    """The judge's path, with the scripted judge: tiny recipes take exact match, which is its rule."""
    few = ["reading=null", "sft=null", f"model={{preset: null, path: {cold_start}}}", "rl.steps=1", "rl.tasks_per_step=4", "rl.samples=4"]
    with JudgeServer() as server:
        judge = f"rl.rewards={{judge: {{endpoint: {{url: '{server.url}', model: scripted, backoff: 0}}}}}}"
        run_pipeline(load_recipe("tongyi", [*SMALL, *few, judge]), tmp_path / "run")
    [event] = Run.open(tmp_path / "run").events("rl")
    assert event["broken"] == 0 and "reward/judge/mean" in event
