"""A cold start in two rounds, from files to figures: an expert with a fault, rollouts and gates, and the policy's own best attempts.

The expert stops half of the time at the mayor, where the question asks for the mayor's spouse, and a small policy learns that as well: it
is right sometimes. Rejection sampling keeps what it does right, and a second SFT on that makes it right more often, with nobody's help.
"""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from spadework.core.config import apply_overrides
from spadework.core.errors import ConfigError, InputError
from spadework.core.progress import Progress
from spadework.core.run import Run
from spadework.corpus.store import build_corpus
from spadework.models.checkpoint import load_model
from spadework.models.tokenizer import train_tokenizer
from spadework.pipeline.chain import run_pipeline
from spadework.pipeline.recipe import Recipe
from spadework.rewards.matching import em
from spadework.tasks.dataset import read_tasks, write_tasks
from spadework.tasks.task import Task
from spadework.trajectories.store import read_records

CITIES = [first + last for first in ("On", "Bri", "Mar", "Zo", "Ke", "Pe") for last in ("dal", "row", "rin", "st")]
CLEAN = dict.fromkeys(("wasted_search", "namesake", "name_only_query", "read_first"), 0.0)


def task(city: str, name: str) -> Task:
    return Task(
        id=f"{name}-{city}",
        question=f"Who is the mayor spouse of {city}?" if name == "train" else f"Who is the mayor spouse of {city} now?",
        answers=("Mira Sool",),
        evidence=(city, "Velor Tash"),
        hops=2,
        source="test",
        meta={"steps": [[city, "mayor", "Velor Tash"], ["Velor Tash", "spouse", "Mira Sool"]]},
    )


class Files(NamedTuple):
    folder: Path
    values: dict[str, Any]

    def recipe(self, *overrides: str) -> Recipe:
        return Recipe.parse(apply_overrides(self.values, overrides), source="test")

    @property
    def tasks(self) -> Path:
        return self.folder / "train.jsonl"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Pages, questions and a checkpoint that has learned nothing."""
    folder = tmp_path_factory.mktemp("cold")
    pages = {city: f"{city} is a city.\n{city} mayor Velor Tash" for city in CITIES}
    pages["Velor Tash"] = "Velor Tash is a person.\nVelor Tash spouse Mira Sool"
    rows = [{"id": title, "title": title, "text": text} for title, text in pages.items()]
    (folder / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    build_corpus(folder / "pages.jsonl", folder / "corpus")
    for name in ("train", "test"):
        write_tasks([task(city, name) for city in CITIES], folder / f"{name}.jsonl")
    texts = [*pages.values(), *(task(city, name).question for city in CITIES for name in ("train", "test"))]
    tokenizer = train_tokenizer(texts, vocab_size=400)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3, head_dim=16,
        intermediate_size=96, max_position_embeddings=512, tie_word_embeddings=True,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"), pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder / "start")
    tokenizer.save_pretrained(folder / "start")
    learner = {"dtype": "float32", "optimizer": {"name": "adamw", "lr": 5e-3}}
    values = {
        "name": "cold",
        "threads": 1,
        "data": {"type": "dataset", "corpus": str(folder / "corpus"), **{n: str(folder / f"{n}.jsonl") for n in ("train", "test")}},
        "model": {"preset": None, "path": str(folder / "start")},
        "tools": {"search": {"limit": 1}},
        "limits": {"max_turns": 4, "max_tokens": 300},
        "sft": {
            "steps": 200, "batch_size": 8, "checkpoint_every": 200, "demonstrations": 24, "hops": None, "learner": learner,
            "expert": {"stop_early": 0.5, **CLEAN},
        },
        "eval": {"hops": None, "unseen_hops": [], "tasks_per_hop": 24, "max_tokens": 40},
    }  # fmt: skip
    return Files(folder, values)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """It is heard, also where the tests run in the background of a shell, which turns it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def first(files: Files) -> Path:
    """The run of the first round."""
    run_pipeline(files.recipe(), files.folder / "first")
    return files.folder / "first"


def second_round(files: Files, first: Path, *overrides: str) -> Recipe:
    checkpoint = Run.open(first).checkpoints("sft")[-1][1]
    return files.recipe(
        f"model.path={checkpoint}", "sft.expert={}", "sft.steps=40", "sft.checkpoint_every=30",
        "sft.rejection={samples: 16, keep: 2, sampling: {max_tokens: 40}}", *overrides,
    )  # fmt: skip


def test_from_tasks_to_attempts_to_gates(files: Files, first: Path, tmp_path: Path, spadework) -> None:
    out = tmp_path / "attempts.jsonl"
    arguments = ["rollout", first, "--tasks", files.tasks, "--corpus", files.folder / "corpus", "--samples", 8]
    code, said, err = spadework(*arguments, "--out", out, "--json")
    assert code == 0, err
    records = list(read_records(out))
    assert [(one.trajectory.task_id, one.trajectory.sample) for one in records] == [
        (f"train-{city}", n) for city in CITIES for n in range(8)
    ]
    right = [one.trajectory.answer is not None and em(one.trajectory.answer, ("Mira Sool",)) == 1 for one in records]
    by_task = [right[start : start + 8] for start in range(0, len(right), 8)]
    made = json.loads(said)
    assert (made["n"], made["new"], made["broken"], made["right"]) == (192, 192, 0, sum(right))
    assert made["never"] == sum(not any(one) for one in by_task) and made["always"] == sum(all(one) for one in by_task)
    assert 0.1 < sum(right) / 192 < 0.9, "the policy is right sometimes"
    # The gates go by the same attempts.
    good = tmp_path / "good.jsonl"
    code, said, err = spadework("curate", files.tasks, "--attempts", out, "--gate", "pass-rate", "--out", good, "--json")
    wanted = [task(city, "train").id for city, one in zip(CITIES, by_task, strict=True) if 1 <= sum(one) <= 7]
    assert code == 0 and wanted and [one.id for one in read_tasks(good)] == wanted
    reasons = {one.id: one.meta["gates"][0][2] for one in read_tasks(good)}
    assert reasons == {task(c, "train").id: f"{sum(one)} of 8 attempts are right" for c, one in zip(CITIES, by_task, strict=True)
                       if task(c, "train").id in wanted}  # fmt: skip
    hard = spadework("curate", files.tasks, "--attempts", out, "--gate", "tool-aided", "--out", good, "--json")[1]
    assert json.loads(hard)["kept"] == made["never"]
    easy = "first-success.keeps=[easy]"
    said = spadework("curate", files.tasks, easy, "--attempts", out, "--gate", "first-success", "--out", good, "--json")[1]
    assert json.loads(said)["kept"] == 24 - made["never"]


@pytest.mark.usefixtures("ctrl_c")
def test_a_rollout_that_is_stopped_goes_on(files: Files, first: Path, tmp_path: Path, spadework, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spadework.pipeline.attempts._BLOCK", 4)  # two tasks
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    arguments = ["rollout", first, "--tasks", files.tasks, "--corpus", files.folder / "corpus", "--samples", 2]
    assert spadework(*arguments, "--out", whole)[0] == 0
    advance, left = Progress.advance, [6]

    def stop(self: Progress, count: int = 1, note: str = "") -> None:
        advance(self, count, note)
        if self.description == "rollout" and left == [self.done]:
            left.clear()
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "advance", stop)
    code, _, err = spadework(*arguments, "--out", parts)
    assert code == 130 and "continue with: spadework rollout" in err
    assert len(list(read_records(parts))) == 4
    text = parts.read_text()
    parts.write_text(text + text.splitlines()[0] + "\n" + '{"torn')
    for more, message in (
        ([], "is there already; add --resume"),
        (["--resume", "--seed", "1"], "was made with other settings: seed"),
        (["--resume"], "line 5: not an attempt that belongs here"),
    ):
        code, _, err = spadework(*arguments, "--out", parts, *more)
        assert (code, err.count("\n")) == (2, 1) and message in err
    parts.write_text(text + whole.read_text().splitlines()[4] + "\n" + '{"torn')  # half a block is made again
    code, said, _ = spadework(*arguments, "--out", parts, "--resume", "--json")
    assert code == 0 and (json.loads(said)["n"], json.loads(said)["new"]) == (48, 44)

    def facts(path: Path) -> list[Any]:
        made = [record.trajectory for record in read_records(path)]
        return [(one.task_id, one.sample, one.answer, [node.token_ids for node in one.nodes]) for one in made]

    assert facts(parts) == facts(whole)
    parts.with_name("parts.manifest.json").unlink()
    assert "parts.manifest.json is missing" in spadework(*arguments, "--out", parts, "--resume")[2]


@pytest.mark.usefixtures("ctrl_c")
def test_the_policys_own_best_attempts_make_it_better(files: Files, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = second_round(files, first)
    summary = run_pipeline(chosen, tmp_path / "whole")
    run = Run.open(tmp_path / "whole")
    facts = run.manifest["demonstrations"]
    demonstrations = [record.trajectory for record in read_records(run.path / "trajectories" / "demonstrations.jsonl")]
    assert facts["tasks"] == 24 and facts["attempts"] == 384 and facts["kept"] == len(demonstrations)
    assert facts["kept"] + sum(facts["rejected"].values()) == 384 and facts["rejected"]["wrong"] > 10
    assert max(Counter(one.task_id for one in demonstrations).values()) <= 2
    for one in demonstrations:
        assert one.answer == "Mira Sool" and "Velor Tash" in one.documents() and one.nodes[1].logprobs[0] < 0, "sampled, not written"
    before, after = (Run.open(path).summary() for path in (first, run.path))
    assert before is not None and after is not None and after == json.loads(json.dumps(summary))
    early, late = (one["stages"]["sft"]["sampled_success_by_hops"]["2"]["mean"] for one in (before, after))
    assert early < 0.75 and late > early + 0.1

    # A run that is stopped while it samples, and again when it learns, learns from the same attempts.
    advance, left = Progress.advance, [("demonstrations", 50), ("sft", 35)]

    def stop(self: Progress, count: int = 1, note: str = "") -> None:
        advance(self, count, note)
        if left and left[0] == (self.description, self.done):
            left.pop(0)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "advance", stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(chosen, tmp_path / "parts", resume=True)
    assert len(Run.open(tmp_path / "parts").events("sft")) == 35, "Ctrl-C is heard within the stage"
    file = tmp_path / "parts" / "trajectories" / "demonstrations.jsonl"
    stamp = file.stat().st_mtime_ns
    run_pipeline(chosen, tmp_path / "parts", resume=True)
    assert not left and file.stat().st_mtime_ns == stamp
    mine, theirs = (load_model(Run.open(tmp_path / name).checkpoints("sft")[-1][1]) for name in ("parts", "whole"))
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))


def test_another_policy_and_no_steps(files: Files, first: Path, tmp_path: Path) -> None:
    """A stronger model teaches one that knows nothing, on questions for which no expert is there."""
    bare = [one.model_copy(update={"meta": {}}) for one in read_tasks(files.tasks)]
    write_tasks(bare, tmp_path / "bare.jsonl")
    teacher = Run.open(first).checkpoints("sft")[-1][1]
    more = (f"model.path={files.folder / 'start'}", "sft.steps=2", f"data.train={tmp_path / 'bare.jsonl'}")
    chosen = second_round(files, first, *more, f"sft.rejection.policy={teacher}")
    run_pipeline(chosen, tmp_path / "run")
    assert Run.open(tmp_path / "run").manifest["demonstrations"]["kept"] > 0
    # The start itself knows nothing, and says so; another tokenizer is refused before anything begins.
    with pytest.raises(InputError, match=r"sft\.rejection: the policy gave no demonstration in 2 attempts at each of 24 tasks \("):
        run_pipeline(second_round(files, first, *more, "sft.rejection.samples=2"), tmp_path / "none")
    train_tokenizer(["quite another text"] * 3, vocab_size=300).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match=r"sft\.rejection\.policy: .*other has another tokenizer"):
        run_pipeline(second_round(files, first, *more, f"sft.rejection.policy={tmp_path / 'other'}"), tmp_path / "other-run")
    with pytest.raises(ConfigError, match=r"sft\.expert has no effect with sft\.rejection"):
        second_round(files, first, "sft.expert={stop_early: 0.1}")
