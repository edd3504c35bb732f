"""The algebra: golden values, its laws, and what it refuses."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rewards.episodes import TASK, bad, episode, searched, value

from spadework.core.errors import ConfigError
from spadework.rewards.answer import AnswerF1, ExactMatch
from spadework.rewards.combine import Clip, Constant, Gate, Product, Sum
from spadework.rewards.reward import RewardTerm, rewards
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

RIGHT, HALF, WRONG = (searched(1, answer) for answer in ("Velor Tash", "Velor Brin", "nobody"))
MALFORMED = episode(bad(), answer="Velor Tash")


def test_sum() -> None:
    spec = {"terms": {"f1": {}, "format": {"weight": 0.1}, "constant/bias": {"value": 2, "weight": -1.0}}}
    assert value("sum", HALF, **spec) == pytest.approx(0.5 + 0.1 - 2)


def test_product() -> None:
    spec: dict[str, Any] = {"terms": {"f1": {}, "format": {}}}
    assert value("product", HALF, **spec) == pytest.approx(0.5)
    assert value("product", MALFORMED, **spec) == 0


def test_gate() -> None:
    spec = {"when": {"format": {}}, "then": {"f1": {}}, "otherwise": -1.0}
    assert value("gate", HALF, **spec) == pytest.approx(0.5)
    assert value("gate", MALFORMED, **spec) == -1
    assert value("gate", HALF, when={"f1": {}}, then=1, above=0.5) == 0  # not above
    assert value("gate", HALF, when={"f1": {}}, then=1, above=0.49) == 1


def test_if_correct() -> None:
    assert value("if-correct", RIGHT) == 1 and value("if-correct", WRONG) == 0
    spec = {"then": 2, "otherwise": {"format": {}}}
    assert value("if-correct", RIGHT, **spec) == 2 and value("if-correct", WRONG, **spec) == 1
    assert value("if-correct", HALF, when={"f1": {}}, then=3) == 3


def test_clip() -> None:
    assert value("clip", RIGHT, of={"constant": {"value": 5}}) == 1
    assert value("clip", RIGHT, of=-5, low=-2.0) == -2
    assert value("clip", HALF, of={"f1": {}}) == pytest.approx(0.5)


def test_rewards_nest() -> None:
    # DeepDive with a price: (em if the format holds, else 0) - 0.1 for every wrong answer
    spec = {"terms": {"product": {"terms": {"em": {}, "format": {}}}, "if-correct": {"then": 0, "otherwise": -0.1}}}
    assert [value("sum", t, **spec) for t in (RIGHT, WRONG, MALFORMED)] == pytest.approx([1, -0.1, 0])


def test_they_are_made_in_python_as_well() -> None:
    gate = Gate(
        when=ExactMatch(), then=Sum(terms={"f1": AnswerF1(), "bonus": Constant(value=0.5)}), otherwise=Clip(of=AnswerF1(), high=0.2)
    )
    assert [gate(TASK, t) for t in (RIGHT, HALF, WRONG)] == pytest.approx([1.5, 0.2, 0])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gate", {"then": 1}, "recipe: gate: 'when' is missing"),
        ("gate", {"when": {"formt": {}}, "then": 1}, "recipe: gate: when: unknown reward 'formt'; did you mean 'format'?"),
        ("gate", {"when": {"format": {"mod": 1}}, "then": 1}, "recipe: gate: when: format: unknown key 'mod'; did you mean 'mode'?"),
        ("gate", {"when": {"em": {}, "f1": {}}, "then": 1}, "recipe: gate: when: expected one reward such as {em: {}} or a number, found"),
        ("gate", {"when": True, "then": 1}, "recipe: gate: when: expected one reward such as {em: {}} or a number, found True"),
        ("gate", {"when": {"em": 3}, "then": 1}, "recipe: gate: when: em: expected a mapping of options such as {}, found 3"),
        (
            "gate",
            {"when": {"turn-format": {}}, "then": 1},
            "recipe: gate: when: TurnFormat is a reward of turns, and one of trajectories is needed here",
        ),
        ("gate", {"when": {"em": {"weight": 2}}, "then": 1}, "recipe: gate: when: 'weight' has no effect here; a rubric and 'sum' weigh"),
        ("product", {"terms": {"em": {"weight": 2}}}, "recipe: product: terms: em: 'weight' has no effect in a product; weigh the product"),
        ("sum", {"terms": {}}, "recipe: sum: 'terms': "),
        ("sum", {"terms": [1]}, "recipe: sum: terms: expected a mapping such as"),
        ("sum", {"terms": {"em": {"weight": {"start": 0, "end": 1}}}}, "recipe: sum: terms: em: a schedule has no effect here"),
        (
            "last-token",
            {"of": {"em": {}}},
            "recipe: last-token: of: ExactMatch is a reward of trajectories, and one of turns is needed here",
        ),
        ("clip", {"of": 1, "low": 2}, "recipe: clip: "),
        ("pairwise", {}, "recipe: pairwise: "),
    ],
)
def test_what_it_refuses(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rewards.build(name, options)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


class Counted(RewardTerm):
    """Counts its calls."""

    value: float
    calls: list[int]

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        self.calls.append(1)
        return self.value


NUMBERS = st.floats(-4, 4).map(lambda x: round(x, 3))


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_a_gate_takes_one_side_and_asks_only_that(when: float, above: float, then: float, otherwise: float) -> None:
    opened, shut = Counted(value=then, calls=[]), Counted(value=otherwise, calls=[])
    gate = Gate(when=Constant(value=when), above=above, then=opened, otherwise=shut)
    assert gate(TASK, RIGHT) == (then if when > above else otherwise)
    assert (len(opened.calls), len(shut.calls)) == ((1, 0) if when > above else (0, 1))


@given(st.lists(NUMBERS, min_size=1, max_size=4), NUMBERS)
def test_sums_and_products_are_what_they_say(values: list[float], factor: float) -> None:
    parts = {f"t{index}": Constant(value=number) for index, number in enumerate(values)}
    assert Sum(terms=parts)(TASK, RIGHT) == pytest.approx(sum(values), abs=1e-9)
    product = 1.0
    for number in values:
        product *= number
    assert Product(terms=parts)(TASK, RIGHT) == pytest.approx(product, abs=1e-9)
    scaled = {name: part.model_copy(update={"weight": factor}) for name, part in parts.items()}
    assert Sum(terms=scaled)(TASK, RIGHT) == pytest.approx(factor * sum(values), abs=1e-9)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=4))
def test_a_product_of_gates_is_all_of_them(values: list[float]) -> None:
    parts = {f"t{index}": Constant(value=number) for index, number in enumerate(values)}
    assert Product(terms=parts)(TASK, RIGHT) == float(all(values))
