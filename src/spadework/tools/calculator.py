"""Calculator: arithmetic on exact numbers, and nothing else.

Research adds, divides and compares figures from pages, so whole numbers and decimals are exact rationals: 0.1 + 0.2 is 0.3, and a share is
`1/3 = 0.333333333333333`. What is irrational (roots, logarithms, angles in radians, broken powers) is a float of 15 digits. The
expression is read by Python's parser and carried out by a walk over its tree that knows numbers, `+ - * / // % **`, and the functions and
constants below; everything else is refused by name. Numbers have at most 4,096 bits, which is asked before a power is
taken, so `9**9**9` costs nothing.

Not done here: units, dates, symbols, statistics over tables; that is what a Python sandbox is for.
"""

import ast
import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from spadework.core.errors import ToolError
from spadework.tools.function import tool
from spadework.tools.tool import Tool, ToolContext, ToolPart, register

__all__ = ["CalculatorConfig", "calculate"]

Number = Fraction | float

_CHARS = 500
_DEPTH = 260
"""A sum of n terms is n deep; no expression of `_CHARS` has more than 250."""
_BITS = 4096
_DIGITS = 40
"""Of an exact decimal; more are rounded."""
_CONSTANTS = {"pi": math.pi, "e": math.e}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FLOATS: dict[str, Callable[..., float]] = {
    name: getattr(math, name) for name in ("sqrt", "exp", "log", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan")
}
_EXACT: dict[str, Callable[..., Number | int]] = {"abs": abs, "min": min, "max": max, "floor": math.floor, "ceil": math.ceil}
_NAMES = [*_EXACT, "round", *_FLOATS]
_SIGNS = str.maketrans({"\u00d7": "*", "\u00f7": "/", "\u2212": "-", "\u00b7": "*"})


@register("calculator")
class CalculatorConfig(ToolPart):
    """Calculate exactly: + - * / // % **, roots, logarithms, angles."""

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """The tool `calculator`."""

        @tool(content=False)
        def calculator(expression: str) -> str:
            """Calculate an arithmetic expression exactly.

            Args:
                expression: For example `(1200 - 950) / 950 * 100`. Operators: + - * / // % **. Functions: abs, min, max, floor, ceil,
                    round, sqrt, exp, log, log2, log10, sin, cos, tan, asin, acos, atan. Constants: pi, e. No thousands separators.
            """
            return calculate(expression)

        return [calculator]


def calculate(expression: str) -> str:
    """The value of an expression as text.

    Args:
        expression: see `CalculatorConfig`; the signs \u00d7 \u00f7 \u2212 \u00b7 are read as * / - *.

    Returns:
        A whole number or a decimal; a fraction with its decimal beside it if that does not end.

    Raises:
        ToolError: it is not arithmetic, too large, or has no value; says which part.
    """
    text = expression.strip().translate(_SIGNS)
    if not text:
        raise ToolError("The expression is empty. Write for example (1200 - 950) / 950 * 100.")
    if len(text) > _CHARS:
        raise ToolError(f"The expression has {len(text)} characters; the limit is {_CHARS}. Calculate a part of it first.")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it is nested too deeply"
        raise ToolError(f"This is no arithmetic expression: {reason}. Write numbers, operators and parentheses only.") from None
    try:
        return _shown(_value(tree.body, 0))
    except ZeroDivisionError:
        raise ToolError("Division by zero.") from None
    except OverflowError:
        raise ToolError("A number is too large.") from None
    except (ValueError, TypeError) as error:
        raise ToolError(f"This has no value: {error}.") from None


def _value(node: ast.expr, depth: int) -> Number:
    if depth > _DEPTH:
        raise ToolError(f"The expression is nested more than {_DEPTH} deep. Calculate a part of it first.")
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            # The shortest text that gives this float is the decimal that was written, up to 17 digits.
            return _bounded(Fraction(repr(value)) if math.isfinite(value) else value)
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign, operand=inner):
            operand = _value(inner, depth + 1)
            return -operand if isinstance(sign, ast.USub) else operand
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left, depth + 1), _value(right, depth + 1))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _bounded(_OPERATORS[type(op)](_value(left, depth + 1), _value(right, depth + 1)))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _NAMES:
            return _call(name, [_value(argument, depth + 1) for argument in arguments])
    raise ToolError(_refusal(node))


def _refusal(node: ast.expr) -> str:
    if isinstance(node, ast.Tuple):
        return "There is a comma between numbers. Write them without thousands separators: 1200, not 1,200."
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
        return "'^' is no operator here. Write a power as 2 ** 10."
    part = ast.unparse(node)
    part = part if len(part) <= 60 else f"{part[:57]}..."
    return f"'{part}' is not allowed. Use numbers, + - * / // % **, the functions {', '.join(_NAMES)}, and {', '.join(_CONSTANTS)}."


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _bounded(value: Number | int) -> Number:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise OverflowError
        return value
    exact = Fraction(value)
    if _bits(exact) > _BITS:
        raise OverflowError
    return exact


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        # A number of b bits is at least 2 ** (b - 1), so this never refuses what would fit.
        if abs(exponent.numerator) * (_bits(base) - 1) > _BITS:
            raise OverflowError
        return _bounded(base**exponent.numerator)
    result = float(base) ** float(exponent)
    if isinstance(result, complex):
        raise ValueError("a broken power of a negative number")
    return _bounded(result)


def _call(name: str, values: list[Number]) -> Number:
    if name == "round":
        places = values[1] if len(values) == 2 else Fraction(0)
        if len(values) not in (1, 2) or not isinstance(places, Fraction) or places.denominator != 1 or abs(places) > 100:
            raise ValueError("round takes a number and how many places, at most 100")
        return _bounded(Fraction(round(Fraction(values[0]), int(places))))
    if name in _EXACT:
        return _bounded(_EXACT[name](*values))
    return _bounded(_FLOATS[name](*map(float, values)))


def _shown(value: Number) -> str:
    if isinstance(value, float):
        return f"{value:.15g}"
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    twos = (rest & -rest).bit_length() - 1
    rest >>= twos
    fives = 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest == 1 and places <= _DIGITS:
        digits = f"{abs(value.numerator) * 10**places // value.denominator:0{places + 1}d}"
        return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    decimal = f"{float(value):.15g}"
    return f"{value} = {decimal}" if len(str(value)) <= _DIGITS else decimal
