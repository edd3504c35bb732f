"""The whole chain at the smallest scale: what a run leaves behind, and that killing and resuming it anywhere changes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from spadework.core.config import apply_overrides
from spadework.core.errors import ConfigError, InputError
from spadework.core.progress import Progress
from spadework.core.run import Run
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.models.checkpoint import load_model, load_tokenizer, parameters
from spadework.pipeline.chain import run_pipeline
from spadework.pipeline.recipe import Recipe
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.store import read_records
from spadework.trajectories.tree import Trajectory


@register("test-low")
class LowTokens(RewardTerm):
    """Share of sampled tokens in the lower half of the ids: an untrained policy has more or less of it, so RL has something to do."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        sampled = [token for node in trajectory.generations() for token in node.token_ids]
        return sum(token < 700 for token in sampled) / max(1, len(sampled))


LEARNER = {"dtype": "float32"}
VALUES: dict[str, Any] = {
    "name": "smallest",
    "seed": 5,
    "threads": 1,
    "data": {"type": "world", "train": {"seed": 1, "pages": 1000, "split": "train"}, "test": {"seed": 2, "pages": 1000, "split": "test"}},
    "model": {"preset": "tiny-1m", "vocab_size": 1200},
    "limits": {"max_turns": 3, "max_tokens": 400},
    "reading": {"steps": 3, "batch_size": 2, "checkpoint_every": 2, "learner": LEARNER},
    "sft": {"steps": 3, "batch_size": 3, "checkpoint_every": 2, "demonstrations": 12, "hops": {1: 1.0}, "learner": LEARNER},
    "rl": {
        "steps": 3, "tasks_per_step": 2, "samples": 3, "checkpoint_every": 2, "hops": {1: 1.0}, "learner": LEARNER,
        "sampling": {"max_tokens": 8}, "rewards": {"test-low": {"weight": 1.0}, "em": {"weight": 1.0}},
    },
    "eval": {"tasks_per_hop": 3, "hops": [1, 2], "unseen_hops": [2], "max_tokens": 8},
}  # fmt: skip


def recipe(*overrides: str) -> Recipe:
    return Recipe.parse(apply_overrides(VALUES, overrides), source="test")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run_pipeline(recipe(), folder)


def test_a_run_leaves_everything_behind(whole: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = whole
    run = Run.open(folder)
    assert run.summary() == json.loads(json.dumps(summary))
    assert Recipe.parse(run.recipe, source="recipe.yaml") == recipe(), "the resolved recipe can be read again"
    assert {"train_world", "test_world"} == set(run.manifest["hashes"]) and run.manifest["seeds"] == {"run": 5}
    for stage in ("reading", "sft", "rl"):
        assert [event["step"] for event in run.events(stage)] == [1, 2, 3]
        assert [step for step, _ in run.checkpoints(stage)] == [2, 3]
        card = json.loads((folder / "evals" / f"{stage}.json").read_text())
        assert card["greedy"]["success"]["n"] == card["sampled"]["success"]["n"] == 6 and card["seconds"] > 0
        records = list(read_records(folder / "trajectories" / f"eval-{stage}.jsonl"))
        assert len({record.trajectory.task_id for record in records}) == 6
        # Two hops were not trained on and are reported apart.
        assert summary["stages"][stage]["success"]["n"] == 3
        assert set(summary["stages"][stage]["success_by_hops"]) == {"1", "2"}
    assert "objectives" not in summary["stages"]["reading"]
    for stage in ("sft", "rl"):
        objectives = summary["stages"][stage]["objectives"]
        assert set(objectives) == {"em", "test-low"} and objectives["test-low"]["n"] == 6
        scored = [record.trajectory for record in read_records(folder / "trajectories" / f"eval-{stage}.jsonl")]
        low = [LowTokens()(None, trajectory) for trajectory in scored]  # type: ignore[arg-type]
        assert objectives["test-low"]["mean"] == pytest.approx(sum(low) / 6)
        assert all(not trajectory.rewards for trajectory in scored), "the records are those of the evaluation"
    assert len(list(read_records(folder / "trajectories" / "rl-last.jsonl"))) == 6
    assert max(event["rollout_corr/max_abs_diff"] for event in run.events("rl")) < 1e-3
    assert any(event["actor/grad_norm"] > 0 for event in run.events("rl"))
    assert {hops: gain["n"] for hops, gain in summary["gain_by_hops"].items()} == {"1": 3, "2": 3}
    assert summary["gain_by_hops"]["1"] == summary["gain"]
    assert summary["gain"]["n"] == 3 and summary["peak_rss_bytes"] > 10**8 and summary["seconds"] > 0
    assert summary["vocabulary"] == len(load_tokenizer(folder / "tokenizer"))
    times = [event["time"] for event in run.events()]
    assert times == sorted(times)


class Kills:
    """Ctrl-C at chosen places: after so many units of a piece of work."""

    def __init__(self, places: list[tuple[str, int]]) -> None:
        self.places = places
        self.advance = Progress.advance

    def __call__(self, progress: Progress, count: int = 1, note: str = "") -> None:
        self.advance(progress, count, note)
        if self.places and self.places[0] == (progress.description, progress.done):
            self.places.pop(0)
            raise KeyboardInterrupt


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kills]:
    places = [
        ("reading", 1),
        ("reading", 3),
        ("demonstrations", 5),
        ("sft", 3),
        ("eval sft, sampled", 2),
        ("rl", 2),
        ("eval rl, greedy", 6),
    ]
    kills = Kills(places)
    monkeypatch.setattr(Progress, "advance", lambda self, count=1, note="": kills(self, count, note))
    yield kills
    assert not kills.places


def facts(folder: Path) -> list[dict[str, Any]]:
    """All that is not a time."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(item) for key, item in value.items() if not key.startswith("tim") and "seconds" not in key}
        return value

    cards = [json.loads(path.read_text()) for path in sorted((folder / "evals").glob("*.json"))]
    return [timeless(item) for item in [*Run.open(folder).events(), *cards]]


def test_killed_anywhere_it_ends_where_the_uninterrupted_run_ends(whole: tuple[Path, dict[str, Any]], tmp_path: Path, kills: Kills) -> None:
    for _ in range(len(kills.places)):
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(recipe(), tmp_path / "run", resume=True)
    summary = run_pipeline(recipe(), tmp_path / "run", resume=True)
    for stage in ("reading", "sft", "rl"):
        mine, theirs = (Run.open(folder).checkpoints(stage)[-1][1] for folder in (tmp_path / "run", whole[0]))
        for (name, a), b in zip(load_model(mine).named_parameters(), load_model(theirs).parameters(), strict=True):
            assert torch.equal(a, b), f"{stage}: {name}"
    assert facts(tmp_path / "run") == facts(whole[0])
    assert summary["gain"] == whole[1]["gain"]
    before = facts(tmp_path / "run")
    run_pipeline(recipe(), tmp_path / "run", resume=True)
    assert facts(tmp_path / "run") == before, "a finished run is left as it is"


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_adapters_on_a_checkpoint_learn_and_resume(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    base = Run.open(whole[0]).checkpoints("sft")[-1][1]
    chosen = recipe("reading=null", "sft=null", f"model={{preset: null, path: {base}, lora_rank: 2}}", "rl.learner.optimizer.muon_lr=0.3")
    run_pipeline(chosen, tmp_path / "whole")
    kills = Kills([("rl", 3)])
    monkeypatch.setattr(Progress, "advance", lambda self, count=1, note="": kills(self, count, note))
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(chosen, tmp_path / "broken")
    run_pipeline(chosen, tmp_path / "broken", resume=True)
    mine, theirs = (load_model(Run.open(tmp_path / name).checkpoints("rl")[-1][1]) for name in ("broken", "whole"))
    start, moved = load_model(base), 0
    for name, tensor in parameters(theirs).items():
        assert torch.equal(tensor, parameters(mine)[name]), name
        moved += not torch.equal(tensor, start.get_parameter(name))
    assert moved == 4 * 7, "every linear layer has learned, through its adapter"


def test_ppo_with_a_critic_a_reference_and_a_teacher_resumes(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, teacher = (Run.open(whole[0]).checkpoints(stage)[-1][1] for stage in ("sft", "rl"))
    chosen = recipe(
        "reading=null", "sft=null", f"model={{preset: null, path: {start}}}", f"rl.teacher={teacher}", "rl.credit={gae: {}}",
        "rl.critic={warmup: 1}", "rl.ppo_epochs=2", "rl.mini_batches=2", "rl.loss={ppo-clip: {}, failure-kl: {failure: 0.5}, kl: {}}",
    )  # fmt: skip
    run_pipeline(chosen, tmp_path / "whole")
    kills = Kills([("rl", 3)])
    monkeypatch.setattr(Progress, "advance", lambda self, count=1, note="": kills(self, count, note))
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(chosen, tmp_path / "broken")
    assert [step for step, _ in Run.open(tmp_path / "broken").checkpoints("rl")] == [2]
    run_pipeline(chosen, tmp_path / "broken", resume=True)
    mine, theirs = (Run.open(tmp_path / name) for name in ("broken", "whole"))
    assert facts(mine.path) == facts(theirs.path)
    for (name, a), b in zip(
        load_model(mine.checkpoints("rl")[-1][1]).named_parameters(), load_model(theirs.checkpoints("rl")[-1][1]).parameters(), strict=True
    ):
        assert torch.equal(a, b), name
    first, second, third = theirs.events("rl")
    # The stage starts from its own reference, is not moved in the critic's warm-up, and from a distance to its teacher.
    assert first["actor/lr"] == 0 < second["actor/lr"] and first["actor/kl_loss"] < 1e-6 < third["actor/kl_loss"]
    assert first["actor/teacher_kl_loss"] > 1e-6 and first["critic/values/mean"] == 0 != second["critic/values/mean"]
    with pytest.raises(InputError, match="nowhere: no checkpoint could be loaded"):
        run_pipeline(chosen.model_copy(update={"rl": chosen.rl.model_copy(update={"teacher": "nowhere"})}), tmp_path / "other")


def test_documents_of_a_user(tmp_path: Path) -> None:
    pages = build_world(WorldConfig(seed=3, pages=1000)).documents()[:400]
    path = tmp_path / "pages.jsonl"
    path.write_text("".join(json.dumps({"id": page.id, "title": page.title, "text": page.text}) + "\n" for page in pages))
    chosen = recipe(
        f"data={{type: corpus, path: {path}}}", "rl=null", "reading.steps=1", "sft.steps=1", "eval.hops=[1]", "eval.unseen_hops=[]"
    )
    summary = run_pipeline(chosen, tmp_path / "run")
    assert set(summary["stages"]) == {"reading", "sft"} and "gain" not in summary
    assert summary["data"]["pages_train"] == summary["data"]["pages_test"] == 400


def test_bad_input_is_one_line_before_anything_starts(tmp_path: Path, whole: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=r"test: unknown key 'rl\.step'; did you mean 'steps'\?"):
        recipe("rl.step=3")
    with pytest.raises(ConfigError, match="give either preset or path"):
        recipe("model.path=somewhere")
    with pytest.raises(ConfigError, match="both of split 'train'"):
        recipe("data.test.split=train")
    with pytest.raises(ConfigError, match="5 hops cannot be made"):
        recipe("rl.hops={5: 1.0}")
    with pytest.raises(InputError, match="nowhere"):
        run_pipeline(recipe(f"data={{type: corpus, path: {tmp_path / 'nowhere'}}}", "eval.hops=[1]"), tmp_path / "a")
    with pytest.raises(InputError, match="could be loaded"):
        run_pipeline(recipe(f"model={{preset: null, path: {tmp_path / 'nowhere'}}}"), tmp_path / "b")
    with pytest.raises(InputError, match="already holds a run"):
        run_pipeline(recipe(), whole[0])
    with pytest.raises(ConfigError, match=r"'rl\.steps' differs"):
        run_pipeline(recipe("rl.steps=4"), whole[0], resume=True)


def test_live_curation_goes_with_the_run(tmp_path: Path) -> None:
    curated = recipe("rl.curation={refresh: 1, passing: 0.0}", "reading=null", "sft=null")
    run_pipeline(curated, tmp_path)
    run = Run.open(tmp_path)
    for event in run.events("rl"):
        # Every reward is above 0, so whatever was tried is mastered.
        assert event["curation/mastered"] == 2 * event["step"] and event["curation/too_hard"] == 0 and event["curation/refreshed"] == 1
    lines = [json.loads(line) for line in (tmp_path / "pass_rates.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3] and all(counts == [3, 3] for line in lines for counts in line["tasks"].values())
