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
