"""What a step computes, in words with numbers: every part has a formula, and every option that is set is said."""

from typing import Any

import pytest
from pydantic import ValidationError

from spadework.algorithms.credit.credit import credit_rules
from spadework.algorithms.losses.loss import losses
from spadework.algorithms.selection.selection import selection_rules
from spadework.core.errors import ConfigError
from spadework.core.registry import Part, Registry, shown
from spadework.pipeline.explain import STAGES, describe, explain, render
from spadework.pipeline.recipe import Recipe, load_recipe
from spadework.rewards.reward import rewards
from spadework.rollout.strategy import strategies

SHELVES: list[Registry[Any]] = [strategies, rewards, credit_rules, selection_rules, losses]
PARTS = [(shelf, name) for shelf in SHELVES for name in shelf.names() if shelf.get(name).__module__.startswith(shelf.package)]


@pytest.mark.parametrize(("shelf", "name"), PARTS, ids=[f"{shelf.kind}-{name}" for shelf, name in PARTS])
def test_every_part_has_a_formula_and_a_source(shelf: Registry[Any], name: str) -> None:
    part = shelf.get(name)
    # Its own, not that of the class that it extends.
    assert part.registered_as == name and "formula" in vars(part) and "source" in vars(part)
    assert part.formula and part.source and "\n" not in part.formula
    assert "{" not in part.published()


@pytest.mark.parametrize(("shelf", "name"), PARTS, ids=[f"{shelf.kind}-{name}" for shelf, name in PARTS])
def test_every_number_that_is_set_is_said(shelf: Registry[Any], name: str) -> None:
    kind: type[Part] = shelf.get(name)
    for option, field in kind.model_fields.items():
        if option == "weight" or not isinstance(field.default, int | float) or isinstance(field.default, bool):
            continue
        value = field.default + 1 if isinstance(field.default, int) else field.default + 0.0625
        try:
            part = kind.model_validate({option: value})
        except (ValidationError, ConfigError):
            continue  # it needs another option beside it, or the range ends there
        lines = list(describe(part, "rewards", name))
        assert shown(value) in lines[0].formula + str(lines[0].options), f"{name}: {option}"


def test_the_lines_of_a_recipe_in_the_order_of_a_step() -> None:
    recipe = Recipe.parse(
        {
            "name": "mine",
            "rl": {
                "steps": 7, "tasks_per_step": 3, "samples": 5, "resample": 2, "sampling": {"temperature": 0.8, "max_tokens": 30},
                "rewards": {
                    "webdancer": {"of": {"f1": {}}},
                    "economy": {"weight": {"start": 1, "end": 0, "from": 0.5}, "cost": 0.125},
                    "turn-format": {"weight": 0.5},
                },
                "selection": {"truncated": {"negatives": "drop"}},
                "credit": {"mt-grpo": {"alpha": 0.75}},
                "loss": {"ppo-clip": {"clip_high": 0.28, "dual_clip": 10.0}, "kl": {"coef": 0.002}},
            },
        },
        source="test",
    )  # fmt: skip
    lines = explain(recipe)
    stages = [line.stage for line in lines]
    assert stages == sorted(stages, key=STAGES.index) and set(stages) == set(STAGES)
    text = {(line.stage, line.part): line for line in lines if line.part}
    assert lines[0].formula == "7 steps of 3 tasks * 5 trajectories, drawn again until selection leaves so many, at most 2 times"
    assert text["rewards", "R"].formula == "webdancer + (1 -> 0 between 50% and 100% of training) economy"
    assert text["rewards", "webdancer"].formula == "0.1 [valid] + (1 - 0.1) f1"
    inner = text["rewards", "of: f1"]
    assert inner.depth == 1 and inner.formula.startswith("best token F1") and inner.file == "rewards/answer.py"
    assert text["rewards", "turn-format"].options == {"scope": "of every turn", "weight": "0.5"}
    assert [line.part for line in lines if line.stage == "selection"] == ["broken", "truncated"]
    assert text["credit", "mt-grpo"].formula.startswith("A_ik = z(R_i) + 0.75 z(r_ik)")
    assert text["loss", "ppo-clip"].formula == "-min(r A, clip(r, 1 - 0.2, 1 + 0.28) A), token-mean"
    assert text["loss", "ppo-clip"].options == {"dual_clip": "10"}
    assert text["loss", "kl"].formula == "+ 0.002 KL(pi, reference), estimator k3"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_into_a_terminal(width: int) -> None:
    recipe = load_recipe("websailor", scale="paper")
    text = render(recipe, explain(recipe), width)
    assert max(map(len, text.splitlines())) <= width
    heads = [line for line in text.splitlines() if line.isupper()]
    assert heads == [*(stage.upper() for stage in STAGES), "NOTES"]


def test_without_rl_there_is_nothing_to_say() -> None:
    recipe = load_recipe("search-r1", ["rl=null"])
    assert explain(recipe) == [] and "no RL stage" in render(recipe, [])


def test_a_formula_names_options_of_its_part() -> None:
    class Small(Part):
        size: int = 3

    shelf: Registry[Part] = Registry("part", "spadework.viewer")
    with pytest.raises(ValueError, match="part 'small': the formula names sizes, which is no option"):
        shelf.register("small", formula="{sizes} x")(Small)
    assert shelf.register("small", formula="{size} x")(Small)(size=4).filled() == "4 x"
    assert shelf.register("other")(type("Other", (Part,), {"__doc__": "Its words.\n\nMore."}))().filled() == "Its words."
