"""Every recipe on the shelf: it loads at both scales, explains itself, and its RL step runs at tiny scale from a shared cold start."""

from pathlib import Path

import pytest

from spadework.core.run import Run
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.pipeline.chain import run_pipeline
from spadework.pipeline.explain import STAGES, explain, render
from spadework.pipeline.recipe import load_recipe
from spadework.pipeline.scales import find_recipes
from spadework.rewards.judge_server import JudgeServer
from spadework.synthesis.graph import make_chains
from spadework.tasks.dataset import write_tasks

SYSTEMS = sorted(name for name in find_recipes() if not name.startswith("demo"))
FEW = [
    "limits={max_turns: 3, max_tokens: 260}",
    "rl.hops=null",
    "rl.sampling.max_tokens=24",
    "eval={tasks_per_hop: 2, hops: null, unseen_hops: [], max_tokens: 8}",
]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that leave the parts of a recipe alone: a few pages of a world in place of two worlds, and short trajectories."""
    folder = tmp_path_factory.mktemp("data")
    world = build_world(WorldConfig(seed=1, pages=1000, split="train"))
    tasks = make_chains(world, seed=0, counts={1: 60})
    needed = {key for task in tasks for key in task.evidence}
    pages = [page for number, page in enumerate(world.documents()) if number < 100 or page.id in needed]
    (folder / "pages.jsonl").write_text("".join(page.model_dump_json() + "\n" for page in pages))
    write_tasks(tasks[:50], folder / "train.jsonl")
    write_tasks(tasks[50:], folder / "test.jsonl")
    files = f"corpus: {folder}/pages.jsonl, train: {folder}/train.jsonl, test: {folder}/test.jsonl"
    return [f"data={{type: dataset, {files}}}", *FEW]


@pytest.fixture(scope="session")
def cold_start(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same, from a checkpoint after a few steps of SFT, which writes turns that can be read now and then."""
    folder = tmp_path_factory.mktemp("cold") / "run"
    clean = "sft.expert={stop_early: 0, wasted_search: 0, namesake: 0, name_only_query: 0, read_first: 0}"
    short = ["reading=null", "sft.steps=50", "sft.batch_size=8", "sft.demonstrations=50", "sft.hops=null", "model.vocab_size=400"]
    run_pipeline(load_recipe("search-r1", [*small, *short, clean, "rl=null"]), folder)
    checkpoint = Run.open(folder).checkpoints("sft")[-1][1]
    return [*small, "reading=null", "sft=null", f"model={{preset: null, path: {checkpoint}}}", "rl.tasks_per_step=4", "rl.samples=6"]


@pytest.mark.parametrize("scale", ["tiny", "paper"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_it_loads_and_explains_itself(name: str, scale: str) -> None:
    recipe = load_recipe(name, scale=scale)
    assert recipe.name == name and recipe.scale == scale and recipe.description and recipe.source and recipe.source.paper
    assert any(note.startswith("Tiny:") for note in recipe.notes), "says what tiny replaces"
    lines = explain(recipe)
    assert {line.stage for line in lines} == set(STAGES)
    assert all(line.source and line.file for line in lines if line.stage in ("selection", "credit", "loss") and line.part != "teacher")
    for width in (80, 120):
        assert all(len(line) <= width for line in render(recipe, lines, width).splitlines())


@pytest.mark.parametrize("name", SYSTEMS)
def test_tiny_recipes_differ_in_rl_alone(name: str) -> None:
    """At one seed all systems share data, model and cold start."""
    own = {"rl", "name", "description", "source", "notes"}
    assert load_recipe(name).model_dump(exclude=own) == load_recipe("search-r1").model_dump(exclude=own)


@pytest.mark.parametrize("name", SYSTEMS)
def test_three_steps_run_at_tiny_scale(name: str, cold_start: list[str], tmp_path: Path) -> None:
    rl = load_recipe(name).rl
    assert rl is not None
    beside = ["rl.critic.warmup=1"] if rl.critic else []
    beside += [f"rl.teacher={load_recipe(name, cold_start).model.path}"] if rl.teacher else []
    recipe = load_recipe(name, [*cold_start, "rl.steps=3", *beside])
    summary = run_pipeline(recipe, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    events = run.events("rl")
    assert [event["step"] for event in events] == [1, 2, 3]
    assert all(event["broken"] == 0 for event in events), "nothing breaks, so that every reward has what it reads"
    assert recipe.rl and set(recipe.rl.rewards) <= {key.split("/")[1] for key in events[0] if key.startswith("reward/")}
    assert set(summary["stages"]) == {"rl"} and run.recipe["source"]["paper"] and run.recipe["scale"] == "tiny"


def test_a_judge_of_the_paper_scale_serves_at_tiny_scale(cold_start: list[str], tmp_path: Path) -> None:
    """The judge's path, with the scripted judge: tiny recipes take exact match, which is its rule."""
    with JudgeServer() as server:
        judge = f"rl.rewards={{judge: {{endpoint: {{url: '{server.url}', model: scripted, backoff: 0}}}}}}"
        run_pipeline(load_recipe("tongyi", [*cold_start, "rl.steps=1", judge]), tmp_path / "run")
    [event] = Run.open(tmp_path / "run").events("rl")
    assert event["broken"] == 0 and "reward/judge/mean" in event
