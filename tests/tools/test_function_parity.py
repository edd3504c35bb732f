"""Schemas of functions are those of transformers but for what the module names, and arguments reach the function in their own types."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Optional, TypedDict, Union

import pytest
from pydantic import BaseModel
from transformers.utils import get_json_schema

from spadework.core.errors import InputError
from spadework.core.messages import ToolCall
from spadework.tools.function import FunctionTool, function_schema, tool
from spadework.tools.gateway import Gateway


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(Enum):
    LOW = 1
    HIGH = "high"


ANNOTATIONS: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "any": Any,
    "bare list": list,
    "bare dict": dict,
    "bare tuple": tuple,
    "list": list[str],
    "list of lists": list[list[int]],
    "list of dicts": list[dict[str, float]],
    "list of any": list[Any],
    "dict": dict[str, int],
    "dict of lists": dict[str, list[bool]],
    "pair": tuple[int, str],
    "list of pairs": list[tuple[str, float]],
    "literal": Literal["a", "b"],
    "numbers": Literal[1, 2],
    "mixed literal": Literal[1, "a"],
    "enum": Colour,
    "mixed enum": Level,
    "list of enums": list[Colour],
    "optional": int | None,
    "typing optional": Optional[str],  # noqa: UP045
    "optional list": list[int] | None,
    "optional enum": Colour | None,
    "optional literal": Literal["a", "b"] | None,
    "union": int | str,
    "typing union": Union[int, str, float],  # noqa: UP007
    "optional union": int | str | None,
    "union of lists": list[int] | str,
    "optional union of lists": list[int] | dict[str, str] | None,
}


def function_of(annotation: Any) -> Callable[..., str]:
    def ask(value, other="x"):  # type: ignore[no-untyped-def]
        """Ask for something.

        Args:
            value: What is asked,
                in other words.
            other: Something else.

        Returns:
            What was found.
        """
        return repr(value)

    ask.__annotations__ = {"value": annotation, "other": str, "return": str}
    return ask


def expected(theirs: dict[str, Any]) -> dict[str, Any]:
    """transformers' schema with what differs on purpose (see the docstring of the module)."""

    def nullable(schema: dict[str, Any]) -> dict[str, Any]:
        schema = {key: nullable(value) if key in {"items", "additionalProperties"} else value for key, value in schema.items()}
        if not schema.pop("nullable", False):
            return schema
        if "anyOf" in schema:
            return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {**schema, "type": [*kinds, "null"]} | ({"enum": [*schema["enum"], None]} if "enum" in schema else {})

    schema = theirs["function"]
    properties = {key: nullable(value) for key, value in schema["parameters"]["properties"].items()}
    properties["other"]["default"] = "x"
    parameters = {"type": "object", "properties": properties, "required": ["value"], "additionalProperties": False}
    return {"name": schema["name"], "description": schema["description"], "parameters": parameters}


@pytest.mark.parametrize("annotation", ANNOTATIONS.values(), ids=ANNOTATIONS.keys())
def test_schemas_are_those_of_transformers(annotation: Any) -> None:
    function = function_of(annotation)
    assert function_schema(function) == expected(get_json_schema(function))


def test_choices_at_the_end_of_a_description() -> None:
    def drink(kind: str) -> str:
        """Drink something.

        Args:
            kind: What to drink (choices: ["tea", "coffee"])
        """
        return kind

    theirs = get_json_schema(drink)["function"]["parameters"]["properties"]["kind"]
    assert function_schema(drink)["parameters"]["properties"]["kind"] == theirs
    assert theirs["enum"] == ["tea", "coffee"]


class Point(TypedDict):
    x: int


@dataclass
class Place:
    x: int


class Model(BaseModel):
    x: int


@pytest.mark.parametrize(
    "annotation", [Point, Place, Model, bytes, set[int], tuple[int], tuple[int, ...], list[Place], dict[str, bytes], int | bytes]
)
def test_what_transformers_refuses_is_refused(annotation: Any) -> None:
    function = function_of(annotation)
    with pytest.raises(Exception, match=r"type hint|Tuple"):
        get_json_schema(function)
    with pytest.raises(InputError, match="argument 'value' is of type"):
        tool(function)


def test_a_dict_whose_keys_are_no_text_is_refused_though_transformers_takes_it() -> None:
    # JSON has no other keys, so the function would get "1" where it declares 1.
    with pytest.raises(InputError, match="is of type"):
        tool(function_of(dict[int, str]))


def test_choices_that_are_not_json() -> None:
    def drink(kind: str) -> str:
        """Drink something.

        Args:
            kind: What to drink (choices: tea, coffee)
        """
        return kind

    with pytest.raises(InputError, match="choices of argument 'kind' are not a JSON list"):
        tool(drink)


def called(annotation: Any, value: Any) -> tuple[str, str]:
    observation = asyncio.run(
        Gateway([FunctionTool(function_of(annotation))]).call(ToolCall(name="ask", arguments={"value": value}), "t/0")
    )
    return observation.status, observation.text


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (Colour, "red", "<Colour.RED: 'red'>"),
        (list[Colour], ["red", "blue"], "[<Colour.RED: 'red'>, <Colour.BLUE: 'blue'>]"),
        (Colour | None, None, "None"),
        (tuple[int, str], [1, "a"], "(1, 'a')"),
        (dict[str, tuple[int, int]], {"a": [1, 2]}, "{'a': (1, 2)}"),
        (list[int] | str, "a", "'a'"),
        (list[int] | str, [1], "[1]"),
        (dict[str, int], {"a": 1}, "{'a': 1}"),
        (Any, {"a": [None]}, "{'a': [None]}"),
    ],
)
def test_values_reach_the_function_in_the_type_that_it_declares(annotation: Any, value: Any, text: str) -> None:
    assert called(annotation, value) == ("ok", text)


@pytest.mark.parametrize(
    ("annotation", "value", "why"),
    [
        (Colour, "green", "'value' must be one of 'red', 'blue', not 'green'."),
        (tuple[int, str], [1], "'value' must have 2 items, not 1."),
        (tuple[int, str], ["a", 1], "'value[0]' must be of type integer, not 'a'."),
        (dict[str, int], {"a": "b"}, "'value.a' must be of type integer, not 'b'."),
        (list[int] | str, 1, "'value' must be of type array, not 1. Or: 'value' must be of type string, not 1."),
        (list[int] | dict[str, str], ["a"], "'value[0]' must be of type integer"),
    ],
)
def test_what_does_not_match_is_explained(annotation: Any, value: Any, why: str) -> None:
    status, text = called(annotation, value)
    assert status == "error"
    assert why in text
