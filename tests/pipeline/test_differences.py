"""What separates two recipes: worked out by hand from the two files."""

import pytest

from spadework.pipeline.differences import diff, render_diff
from spadework.pipeline.recipe import load_recipe


def test_two_systems_that_differ_in_parts_and_numbers() -> None:
    found = diff(load_recipe("search-r1"), load_recipe("demo"))
    assert list(found.sections) == ["rollout", "rewards", "selection", "credit", "loss", "optimiser"]
    # Search-R1: em, 5 samples, two updates per step, a KL term. The demo: em and a price, 8 samples, groups without a spread dropped.
    assert found.sections["rollout"].settings == [("rl.samples", "5", "8")]
    assert found.sections["optimiser"].settings == [("rl.mini_batches", "2", "1")]
    rewards = found.sections["rewards"]
    assert (rewards.same, [line.part for line in rewards.only_second]) == (["em"], ["economy"])
    assert [(a.part, a.formula, b.formula) for a, b in rewards.changed] == [("R", "em", "em + 0.5 economy")]
    assert [line.part for line in found.sections["selection"].only_second] == ["zero-variance"]
    assert found.sections["credit"].same == ["grpo"]
    assert [line.part for line in found.sections["loss"].only_first] == ["kl"]


def test_a_part_with_other_numbers_shows_both_formulas() -> None:
    found = diff(load_recipe("grpo"), load_recipe("search-r1"))
    formulas = {a.part: (a.formula, b.formula) for a, b in found.sections["loss"].changed}
    assert formulas["kl"] == ("+ 0.04 KL(pi, reference), estimator k3", "+ 0.001 KL(pi, reference), estimator k3")
    assert formulas["ppo-clip"][0].endswith("seq-mean-token-mean") and formulas["ppo-clip"][1].endswith("A), token-mean")


def test_a_part_with_another_part_inside() -> None:
    other = "rl.rewards={webdancer: {of: {f1: {}}}}"
    rewards = diff(load_recipe("webdancer"), load_recipe("webdancer", [other])).sections["rewards"]
    assert [(a.formula, b.formula) for a, b in rewards.changed] == [("0.1 [valid] + (1 - 0.1) em", "0.1 [valid] + (1 - 0.1) f1")]
    assert ([line.part for line in rewards.only_first], [line.part for line in rewards.only_second]) == (["of: em"], ["of: f1"])


def test_the_order_of_the_selection_is_a_difference() -> None:
    swapped = "rl.selection={sign-ratio: {negatives: 1.0}, truncated: {negatives: drop}}"
    found = diff(load_recipe("sfr-deepresearch"), load_recipe("sfr-deepresearch", [swapped]))
    assert found.sections["selection"].settings == [("order", "broken, truncated, sign-ratio", "broken, sign-ratio, truncated")]


def test_a_critic_of_one_is_a_line_and_of_both_its_numbers() -> None:
    one = diff(load_recipe("search-r1"), load_recipe("search-r1-ppo")).sections
    assert [line.part for line in one["loss"].only_second] == ["critic"]
    assert not any(key.startswith("rl.critic") for key, _, _ in one.get("optimiser", one["rollout"]).settings)
    both = diff(load_recipe("search-r1-ppo"), load_recipe("search-r1-ppo", ["rl.critic.optimizer.weight_decay=0.5"])).sections
    assert both["optimiser"].settings == [("rl.critic.optimizer.weight_decay", "0", "0.5")]


def test_numbers_of_every_section() -> None:
    changed = [
        "seed=1",
        "limits.max_turns=3",
        "sft.steps=5",
        "rl.learner.optimizer.lr=0.25",
        "rl.checkpoint_every=5",
        "tools.search.limit=7",
    ]
    found = diff(load_recipe("grpo"), load_recipe("grpo", changed))
    settings = {name: [row[0] for row in section.settings] for name, section in found.sections.items() if section.settings}
    assert settings == {
        "tools": ["tools.search.limit"],
        "sft": ["sft.steps"],
        "rollout": ["limits.max_turns"],
        "optimiser": ["rl.learner.optimizer.lr", "rl.checkpoint_every"],
        "other": ["seed"],
    }


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_into_a_terminal(width: int) -> None:
    for scale in ("tiny", "paper"):
        found = diff(load_recipe("websailor", scale=scale), load_recipe("asearcher", scale=scale))
        assert max(map(len, render_diff(found, width).splitlines())) <= width


def test_identical_parts_are_one_line_and_equal_recipes_have_nothing_else() -> None:
    found = diff(load_recipe("grpo"), load_recipe("grpo"))
    text = render_diff(found, 120)
    assert text.splitlines() == [
        "grpo -> grpo",
        "",
        "same: rollout independent; rewards R, em; selection broken; credit grpo; loss ppo-clip, kl",
    ]
