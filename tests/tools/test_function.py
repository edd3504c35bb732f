"""A function's signature and docstring are the schema, and what JSON can not carry is refused."""

import asyncio
from datetime import date
from typing import Literal

import pytest

from spadework.core.errors import InputError
from spadework.tools.function import tool
from spadework.tools.tool import Observation


@tool
async def find(pattern: str, where: Literal["title", "text"] = "text", *, limit: int | None = None, ids: list[str] | None = None) -> str:
    """Find a pattern
    in the pages.

    Nothing else.

    Args:
        pattern: Words, or a phrase:
            case is ignored.
        where (str): In which part.
        limit: How many.
        ids: Only in these pages.

    Returns:
        One hit per line.
    """
    return f"{pattern} in {where}, {limit}, {ids}"


def test_schema_of_a_function() -> None:
    assert find.schema == {
        "name": "find",
        "description": "Find a pattern in the pages. Nothing else.",
        "parameters": {
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "description": "Words, or a phrase: case is ignored."},
                "where": {"type": "string", "enum": ["title", "text"], "description": "In which part.", "default": "text"},
                "limit": {"type": ["integer", "null"], "description": "How many."},
                "ids": {"type": ["array", "null"], "items": {"type": "string"}, "description": "Only in these pages."},
            },
            "required": ["pattern"],
            "additionalProperties": False,
        },
    }


def test_async_functions_wait_and_plain_ones_do_not() -> None:
    @tool
    def plain() -> Observation:
        """Give an observation."""
        return Observation(text="as it is", documents=("d1",))

    assert (find.facts.inline, plain.facts.inline) == (False, True)
    assert asyncio.run(find(pattern="a", limit=2)) == Observation(text="a in text, 2, None", tool="find")
    assert asyncio.run(plain()).documents == ("d1",)
    assert plain.schema["parameters"] == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def bare(text: str) -> str:
    return text


def undescribed(text: str, other: str) -> str:
    """Say it.

    Args:
        text: What.
    """
    return text


def untyped(text) -> str:  # type: ignore[no-untyped-def]
    """Say it.

    Args:
        text: What.
    """
    return text


def dated(day: date) -> str:
    """Say it.

    Args:
        day: When.
    """
    return str(day)


def variadic(*texts: str) -> str:
    """Say it.

    Args:
        texts: What.
    """
    return "".join(texts)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (bare, "tool 'bare': it has no docstring"),
        (undescribed, "argument 'other' is not described under 'Args:'"),
        (untyped, "argument 'text' has no type annotation"),
        (dated, "argument 'day' is of type <class 'datetime.date'>; use str"),
        (variadic, "argument 'texts' can not be passed by name"),
    ],
)
def test_a_function_that_a_model_could_not_call_is_refused(function: object, why: str) -> None:
    with pytest.raises(InputError, match=why):
        tool(function)  # type: ignore[arg-type]
