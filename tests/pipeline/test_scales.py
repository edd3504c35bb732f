"""Scales: which file wins, what a scale may not set, and that every error is one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from spadework.core.config import merge
from spadework.core.errors import ConfigError
from spadework.pipeline.recipe import Recipe, load_recipe

BASE: dict[str, Any] = {"seed": 3, "limits": {"max_turns": 4}, "rl": {"steps": 10, "samples": 4}}
RECIPE: dict[str, Any] = {
    "name": "mine",
    "source": {"paper": "2503.09516"},
    "limits": {"max_tokens": 300},
    "rl": {"samples": 5, "rewards": {"em": {"weight": 1.0}}},
    "scales": {"tiny": {"rl": {"samples": 6, "rewards": {"f1": {"weight": 0.5}}}}, "paper": None, "huge": {"seed": 9}},
}


def write(folder: Path, recipe: dict[str, Any] = RECIPE, **bases: dict[str, Any]) -> str:
    (folder / "scales").mkdir(exist_ok=True)
    for scale, values in ({"tiny": BASE} | bases).items():
        (folder / "scales" / f"{scale}.yaml").write_text(yaml.safe_dump(values))
    path = folder / f"{recipe['name']}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return str(path)


def test_the_later_file_wins_key_by_key(tmp_path: Path) -> None:
    path = write(tmp_path)
    recipe = load_recipe(path, ["rl.steps=7"])
    assert (recipe.seed, recipe.limits.max_turns, recipe.limits.max_tokens) == (3, 4, 300)
    assert recipe.rl and (recipe.rl.steps, recipe.rl.samples) == (7, 6)
    assert recipe.rl.rewards == {"em": {"weight": 1.0}, "f1": {"weight": 0.5}}
    assert recipe.scale == "tiny" and recipe.source and recipe.source.paper == "2503.09516"


def test_a_resolved_recipe_says_its_scale_and_can_be_read_again(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path))
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    assert load_recipe(str(tmp_path / "again.yaml")) == recipe


def test_null_and_lists_replace() -> None:
    assert merge({"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}, {"a": {"c": [3]}, "d": None}) == {"a": {"b": 1, "c": [3]}, "d": None}
    assert merge({"a": None}, {"a": {"b": 1}}) == {"a": {"b": 1}}


def test_the_base_of_the_package_serves_recipes_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    recipe = load_recipe(str(path))
    assert recipe.sft and recipe.sft.demonstrations == 4000, "the demo's cold start"


@pytest.mark.parametrize(
    ("recipe", "bases", "scale", "message"),
    [
        (RECIPE, {}, "small", r"recipe 'mine' has no scale 'small'; its scales: huge, paper, tiny"),
        (RECIPE, {}, "huge", r"scale 'huge' has no base; write .*scales/huge\.yaml"),
        (RECIPE | {"scales": {}}, {}, "paper", r"recipe 'mine' has no scales, so it cannot be had at scale 'paper'"),
        (RECIPE | {"scales": ["tiny"]}, {}, "tiny", r"'scales' is a mapping from a scale to what it changes"),
        (RECIPE | {"scales": {"tiny": {"name": "x"}}}, {}, "tiny", r"scales\.tiny: 'name' cannot be set by a scale"),
        (RECIPE, {"tiny": {"notes": []}}, "tiny", r"scales/tiny\.yaml: 'notes' cannot be set by a scale"),
        (RECIPE, {"tiny": {"rl": {"credit": {"grpo": {}}}}}, "tiny", r"'rl\.credit' cannot be set by a base"),
        (RECIPE, {"tiny": {"rl": {"stepz": 1}}}, "tiny", r"unknown key 'rl\.stepz'; did you mean 'steps'\?"),
    ],
)
def test_what_a_scale_cannot_be_is_one_line(
    recipe: dict[str, Any], bases: dict[str, Any], scale: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        load_recipe(write(tmp_path, recipe, **bases), scale=scale)
    assert "\n" not in str(error.value)


def test_the_demo_is_the_tiny_scale_of_all() -> None:
    """Equal data, model and stages before RL at one seed: two systems that are compared differ in RL alone."""
    demo, other = (
        load_recipe(name).model_dump(exclude={"rl", "name", "description", "source", "notes", "scale"}) for name in ("demo", "search-r1")
    )
    assert demo == other


def test_data_without_a_number_of_hops_is_for_data_sets() -> None:
    with pytest.raises(ConfigError, match=r"rl\.hops: null takes what a data set has; name them for data of type 'world'"):
        Recipe.parse({"name": "x", "rl": {"hops": None}}, source="x")
