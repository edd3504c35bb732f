"""Exact arithmetic, bounds that cost nothing, and no way to anything but numbers."""

import asyncio
import math
import re
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.core.errors import ToolError
from spadework.core.messages import ToolCall
from spadework.tools.calculator import CalculatorConfig, calculate
from spadework.tools.gateway import Gateway
from spadework.tools.tool import ToolContext


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 1", "2"),
        ("0.1 + 0.2", "0.3"),
        ("(1200 - 950) / 950 * 100", "500/19 = 26.3157894736842"),
        ("7 / 2", "3.5"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("2 ** 10", "1024"),
        ("2 ** -2", "0.25"),
        ("-1/8", "-0.125"),
        ("1/3", "1/3 = 0.333333333333333"),
        ("2 ** 0.5", "1.4142135623731"),
        ("sqrt(2) ** 2", "2"),
        ("sqrt(16)", "4"),
        ("log(8, 2)", "3"),
        ("round(2.675, 2)", "2.68"),
        ("round(1234, -2)", "1200"),
        ("floor(-0.5) + ceil(0.5)", "0"),
        ("max(1, 2.5, 2)", "2.5"),
        ("abs(-3)", "3"),
        ("2 * pi", "6.28318530717959"),
        ("1e3 + 1_000", "2000"),
        ("6 \u00d7 7 \u2212 4 \u00f7 2", "40"),
        ("1 ** 10 ** 9", "1"),
        ("0.000001 * 0.000001", "0.000000000001"),
        ("3.5e-3", "0.0035"),
        ("+".join(["1"] * 250), "250"),
        ("9007199254740993 * 3", "27021597764222979"),
    ],
)
def test_values(expression: str, value: str) -> None:
    # round(2.675, 2): the float below 2.675 rounds to 2.67; the decimal that was written, half to even, to 2.68.
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "empty"),
        ("1 +", "no arithmetic expression"),
        ("1,200 + 1", "thousands separators"),
        ("2 ^ 10", r"2 \*\* 10"),
        ("x + 1", "'x' is not allowed"),
        ("1 / 0", "Division by zero"),
        ("0 ** -1", "Division by zero"),
        ("1 % 0", "Division by zero"),
        ("sqrt(-1)", "no value"),
        ("(-8) ** 0.5", "no value"),
        ("sqrt()", "no value"),
        ("round(1, 2, 3)", "no value"),
        ("round(1, 1000000)", "no value"),
        ("1e999", "too large"),
        ("exp(1000)", "too large"),
        ("9**9**9", "too large"),
        ("10 ** 2000 * 1", "too large"),
        ("2 ** 4095 * 2", "too large"),
        ("sqrt(10 ** 1000)", "too large"),
        ("-" * 400 + "1", "nested more than"),
        ("1+" * 300 + "1", "has 601 characters"),
        ("(" * 400, "no arithmetic"),
        ("1\x00", "no arithmetic"),
    ],
)
def test_what_has_no_value_is_explained(expression: str, why: str) -> None:
    with pytest.raises(ToolError, match=why):
        calculate(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "open('/etc/passwd')",
        "().__class__",
        "(1).real",
        "pi.__class__",
        "[1, 2]",
        "{1: 2}",
        "lambda: 1",
        "1 if 1 else 2",
        "1 < 2",
        "1 and 2",
        "not 1",
        "~1",
        "1 << 1000000000",
        "1 @ 2",
        "1j",
        "'a' * 1000000000",
        "b'a'",
        "f'{1}'",
        "True",
        "None",
        "...",
        "(a := 1)",
        "max(*[1])",
        "max(1, key=abs)",
        "abs",
        "abs(abs)",
        "[x for x in (1, 2)]",
        "await 1",
        "exec('1')",
        "print(1)",
        "pow(9, 9 ** 9)",
        "e()",
        "sqrt(2)()",
    ],
)
def test_nothing_but_numbers(expression: str) -> None:
    with pytest.raises(ToolError):
        calculate(expression)


@pytest.mark.parametrize(
    "expression", ["9**9**9", "9**9**9**9", "2 ** 4095 ** 2", "(2 ** 4000) ** (2 ** 4000)", "10 ** 10 ** 10 % 7", "1.5 ** 10 ** 12"]
)
def test_bounds_cost_nothing(expression: str) -> None:
    begin = time.process_time()
    with pytest.raises(ToolError, match="too large"):
        calculate(expression)
    assert time.process_time() - begin < 0.05


exact = st.recursive(
    st.decimals(min_value=-1000, max_value=1000, places=3).map(lambda number: f"({number})"),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
    max_leaves=6,
)


@given(exact)
def test_decimals_are_exact(expression: str) -> None:
    # The same tree with every number as a Fraction, by Python itself.
    try:
        wanted = eval(re.sub(r"\(-?\d+\.\d+\)", lambda found: f"Fraction('{found[0][1:-1]}')", expression), {"Fraction": Fraction})
    except ZeroDivisionError:
        with pytest.raises(ToolError):
            calculate(expression)
        return
    found = calculate(expression).split(" = ")
    if len(found) == 2:
        assert Fraction(found[0]) == wanted
    assert math.isclose(float(Fraction(found[-1])), float(wanted), rel_tol=1e-14)


@given(st.text(alphabet="0123456789.+-*/%() episqrtlogx,", max_size=40))
def test_any_text_gives_a_value_or_an_explanation(text: str) -> None:
    try:
        assert calculate(text)
    except ToolError as error:
        assert str(error)


def test_through_the_gateway() -> None:
    gateway = Gateway(CalculatorConfig().build(ToolContext()))
    assert asyncio.run(gateway.call(ToolCall(name="calculator", arguments={"expression": "1/4"}), "t/0")).text == "0.25"
    refused = asyncio.run(gateway.call(ToolCall(name="calculator", arguments={"expression": "os"}), "t/0"))
    assert (refused.status, "'os' is not allowed" in refused.text) == ("error", True)
