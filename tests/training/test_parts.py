"""Parts that fit are made; parts that cannot take effect are refused when the recipe is read, with the reason."""

import re
from itertools import product

import pytest

from spadework.algorithms.credit.credit import credit_rules
from spadework.algorithms.losses.loss import Surrogate, losses
from spadework.algorithms.selection.selection import selection_rules
from spadework.core.errors import ConfigError
from spadework.training.parts import build_parts
from spadework.training.stages import RLStage

EM = {"em": {}}
PLAIN = {"selection": {}, "credit": {"grpo": {}}, "loss": {"ppo-clip": {}}}


def _needs(credit: str) -> frozenset[str]:
    """What a rule must have that a run with exact match alone does not supply."""
    rule = credit_rules.get(credit)
    return (rule.reads | rule.one_of) - {"entropies", "roles"}


def test_every_triple_is_made_or_refused_with_a_reason() -> None:
    surrogates = [name for name in losses.names() if issubclass(losses.get(name), Surrogate)]
    made = refused = 0
    for credit, selection, loss in product(credit_rules.names(), selection_rules.names(), surrogates):
        try:
            parts = build_parts(EM, {selection: {}}, {credit: {}}, {loss: {}})
        except ConfigError as error:
            assert "which nothing supplies; " in str(error)
            refused += 1
        else:
            assert parts.credit == credit_rules.build(credit)
            made += 1
    # Of the rules, mt-grpo and step-returns read rewards of turns or spans, gae a critic and arpo and tree-grpo forks.
    share = len(selection_rules.names()) * len(surrogates)
    refusing = [name for name in credit_rules.names() if _needs(name)]
    assert (made, refused) == ((len(credit_rules.names()) - len(refusing)) * share, len(refusing) * share)
    assert refusing and made


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"credit": {"mt-grpo": {}}}, "rl.credit: 'mt-grpo' reads turn_rewards, which nothing supplies; add a reward of turns"),
        (
            {"credit": {"step-returns": {}}},
            "'step-returns' reads span_rewards or turn_rewards, which nothing supplies; add a reward of turns",
        ),
        ({"credit": {"gdpo": {}}}, "'gdpo' reads objectives, which nothing supplies; add a second reward of trajectories to rl.rewards"),
        ({"credit": {"gdpo": {}}, "rewards": {"em": {}, "format": {"weight": 0}}}, "'gdpo' reads objectives"),
        ({"credit": {"gae": {}}}, "rl.credit: 'gae' reads values, which nothing supplies; add a critic, rl.critic"),
        ({"rewards": {"em": {}, "turn-format": {}}}, "no credit rule reads turn_rewards; 'grpo' does not"),
        ({"loss": {"ppo-clip": {}, "failure-kl": {}}}, "rl.loss: a part needs teacher_logprobs, which nothing supplies; name a ch"),
        ({"loss": {"ppo-clip": {}, "value": {}}}, "'value' is the loss of a critic, which is a model of its own; set rl.critic"),
        ({"credit": {"grpo": {}, "rloo": {}}}, "expected exactly one rule, found grpo, rloo"),
        ({"credit": {}}, "expected exactly one rule, found none"),
    ],
)
def test_what_cannot_take_effect_is_refused(changed: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_parts(**({"rewards": EM} | PLAIN | changed))
    with pytest.raises(ConfigError, match=message):
        RLStage.parse({"rewards": EM} | PLAIN | changed, source="recipe")


FORKS = {"credit": {"arpo": {}}}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (FORKS, "rl.credit: 'arpo' reads forks, which nothing supplies; the run does not fork trajectories: set rl.rollout to arpo, aepo"),
        ({"credit": {"tree-grpo": {}}, "rollout": {"independent": {}}}, "'tree-grpo' reads forks, which nothing supplies"),
        (FORKS | {"rollout": {"arpo": {}, "tree": {}}}, "rl.rollout: expected exactly one strategy, found arpo, tree"),
        ({"rollout": {}}, "rl.rollout: expected exactly one strategy, found none"),
        ({"rollout": {"arppo": {}}}, "rl.rollout: unknown rollout strategy 'arppo'; did you mean 'arpo'?"),
        ({"rollout": {"arpo": {"betta": 1}}}, "rl.rollout: arpo: unknown key 'betta'; did you mean 'beta'?"),
        ({"rollout": {"arpo": {"initial_rollouts": 8}}}, "8 of 8 samples start from the root, so nothing can branch"),
        ({"rollout": {"tree": {}}}, "set rl.samples to 6 or 9, or change nodes or rounds"),
    ],
)
def test_forks_that_nothing_makes_are_refused(changed: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        RLStage.parse({"rewards": EM} | PLAIN | changed, source="recipe")


def test_rollouts_that_fork_go_with_every_credit_rule_for_forks_and_without() -> None:
    for rollout, credit in product(({"arpo": {}}, {"aepo": {}}, {"tree": {"nodes": 3}}), ("arpo", "tree-grpo", "grpo")):
        stage = RLStage.parse({"rewards": EM} | PLAIN | {"rollout": rollout, "credit": {credit: {}}}, source="recipe")
        assert stage.strategy().forks


PPO = {"credit": {"gae": {}}, "critic": {}}


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"critic": {}}, "rl.critic: 'grpo' reads no values, so a critic has no effect; take gae"),
        ({"teacher": "somewhere"}, "rl.teacher: no part of rl.loss reads teacher_logprobs; add failure-kl"),
        ({"mini_batches": 5, "tasks_per_step": 4}, "rl.mini_batches: 5 updates per pass need as many groups, and a step has 4"),
        (PPO | {"critic": {"warmup": 10}, "steps": 10}, "rl.critic.warmup: 10 of 10 steps leave none in which the policy learns"),
        (PPO | {"critic": {"learner": {}}}, "unknown key 'critic.learner'"),
        (PPO | {"critic": {"clip": 0}}, "'critic.clip': Input should be greater than 0"),
    ],
)
def test_a_knob_without_effect_is_refused(stage: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RLStage.parse(stage, source="recipe")


def test_ppo_with_a_critic_and_dgpo_with_a_teacher_fit() -> None:
    stage = RLStage.parse(PPO | {"loss": {"ppo-clip": {}, "failure-kl": {}}, "teacher": "somewhere", "steps": 2}, source="recipe")
    assert stage.parts().credit == credit_rules.build("gae")
    assert stage.critic is not None and stage.critic.clip == 0.5


def test_a_turn_reward_that_trains_nothing_is_only_recorded() -> None:
    parts = build_parts({"em": {}, "turn-format": {"weight": 0.0}}, **PLAIN)
    assert [term.name for term in parts.rubric.terms] == ["em", "turn-format"]
