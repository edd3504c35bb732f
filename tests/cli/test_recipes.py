"""Recipes on the command line: resolved, overridden, refused. Nothing here trains."""

import json
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text("name: small\nseed: 1\nrl: {steps: 7}\n")
    (tmp_path / "small-corpus.yaml").write_text("eval: {hops: [1], unseen_hops: []}\nrl: {steps: 7, hops: {1: 1.0}}\n")
    return path


def test_a_dry_run_prints_a_recipe_that_can_be_run_again(recipe: Path, tmp_path: Path, spadework) -> None:
    code, out, err = spadework("train", recipe, "--dry-run", "rl.steps=3", "--seed", "4", "seed=5")
    assert (code, err) == (0, "")
    values = yaml.safe_load(out)
    # The option comes last, so it wins over the override of the same key.
    assert (values["name"], values["seed"], values["rl"]["steps"]) == ("small", 4, 3)
    (tmp_path / "again.yaml").write_text(out)
    code, again, _ = spadework("recipes", "show", tmp_path / "again.yaml")
    assert (code, again) == (0, out)


def test_json_says_the_same(recipe: Path, spadework) -> None:
    _, text, _ = spadework("recipes", "show", recipe)
    _, values, _ = spadework("recipes", "show", recipe, "--json")
    # JSON has texts as keys where YAML has numbers (number of hops).
    assert json.loads(values) == json.loads(json.dumps(yaml.safe_load(text)))


def test_sft_leaves_rl_out(recipe: Path, spadework) -> None:
    _, out, _ = spadework("sft", recipe, "--dry-run")
    assert yaml.safe_load(out)["rl"] is None


def test_documents_of_a_user(recipe: Path, spadework) -> None:
    code, out, _ = spadework("train", recipe, "--dry-run", "--corpus", "my notes, {a: b}")
    assert (code, yaml.safe_load(out)["data"]) == (0, {"type": "corpus", "path": "my notes, {a: b}", "lead": None})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dry-run", "rl.stepz=3"], "unknown key 'rl.stepz'; did you mean 'steps'?"),
        (["--dry-run", "rl.steps=many"], "'rl.steps'"),
        (["--dry-run", "rl.steps"], "override 'rl.steps' is not of the form a.b=c"),
        ([], "the run needs a folder; name one with --out DIR"),
    ],
)
def test_a_wrong_setting_is_one_line(arguments: list[str], message: str, recipe: Path, spadework) -> None:
    code, out, err = spadework("train", recipe, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_an_unknown_recipe_is_named(spadework) -> None:
    code, _, err = spadework("train", "dmeo", "--dry-run")
    assert code == 2
    assert "no recipe 'dmeo'" in err


def test_a_scale_is_chosen_on_the_command_line(spadework) -> None:
    _, tiny, _ = spadework("train", "search-r1", "--dry-run")
    code, paper, _ = spadework("train", "search-r1", "--dry-run", "--scale", "paper", "rl.steps=9")
    assert code == 0 and yaml.safe_load(tiny)["scale"] == "tiny"
    values = yaml.safe_load(paper)
    assert (values["scale"], values["data"]["type"], values["rl"]["steps"]) == ("paper", "dataset", 9)
    code, out, err = spadework("sft", "search-r1", "--scale", "papre", "--dry-run")
    assert (code, out) == (2, "") and err == "error: recipe 'search-r1' has no scale 'papre'; its scales: tiny, paper\n"


def test_recipes_are_listed_with_paper_and_scales(spadework) -> None:
    code, out, _ = spadework("recipes", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and rows["search-r1"]["paper"] == "arXiv 2503.09516" and rows["search-r1"]["scales"] == ["tiny", "paper"]
    assert rows["demo"]["scales"] == [] and all(row["description"] for row in rows.values())
    _, text, _ = spadework("recipes", "list")
    assert set(rows) <= {line.split()[0] for line in text.splitlines()}


def test_explain_and_diff(spadework) -> None:
    code, out, err = spadework("recipes", "explain", "dapo", "rl.loss.ppo-clip.clip_high=0.3", "--json")
    lines = json.loads(out)
    assert (code, err) == (0, "") and lines[0]["stage"] == "rollout"
    assert "1 + 0.3" in next(line["formula"] for line in lines if line["part"] == "ppo-clip")
    code, out, _ = spadework("recipes", "diff", "dapo", "grpo", "--scale", "paper", "--json")
    assert code == 0 and json.loads(out)["sections"]["loss"]["only_second"][0]["part"] == "kl"
    code, out, _ = spadework("recipes", "diff", "dapo", "grpo")
    assert code == 0 and out.startswith("dapo -> grpo\n") and "overlong" in out


@pytest.mark.parametrize("command", [["explain", "demo"], ["show", "demo"], ["diff", "search-r1", "demo"]])
def test_a_scale_that_a_recipe_has_not_is_one_line(command: list[str], spadework) -> None:
    code, out, err = spadework("recipes", *command, "--scale", "paper")
    assert (code, out) == (2, "") and err == "error: recipe 'demo' has no scales, so it cannot be had at scale 'paper'; leave --scale out\n"


def test_a_run_without_a_stage_and_one_without_its_files_are_one_line(tmp_path: Path, spadework) -> None:
    code, _, err = spadework("sft", "search-r1", "--scale", "paper", "--out", tmp_path / "run")
    assert code == 2 and err == "error: recipe 'search-r1' has no stage to carry out here: reading, sft and rl are null\n"
    code, _, err = spadework("train", "search-r1", "--scale", "paper", "--out", tmp_path / "run", "data.corpus=nowhere")
    assert code == 2 and err.startswith("error: data.corpus: nowhere is not there; get nq_hotpotqa_train") and err.count("\n") == 1
    assert not (tmp_path / "run").exists()
