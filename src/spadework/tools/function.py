"""A typed function with a Google docstring is a tool.

The signature gives the argument types and the docstring the descriptions, so the schema that the model sees can not drift from the code.
Types are those that `transformers.utils.get_json_schema` takes, and schemas are the same but for six things: a nullable argument has the
type `[T, "null"]`, because `nullable` is no JSON Schema; defaults are stated; `required` always stands there; other arguments are refused;
the result, which no model writes, is left out; and a description is one line. What a model sends reaches the function in the type that it
declares: an Enum member, a tuple. Anything that JSON cannot carry is refused when the tool is made (dataclasses, TypedDict and pydantic
models too, as in transformers: write the arguments out).

A plain function runs inside the event loop, so it must be quick; write `async def` for anything that waits.
"""

import inspect
import json
import re
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, overload

from pydantic import TypeAdapter

from spadework.core.errors import InputError
from spadework.tools.tool import Facts, Observation

__all__ = ["FunctionTool", "function_schema", "tool"]

_JSON_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_BARE = {**_JSON_TYPES, dict: "object", list: "array", tuple: "array"}
_CHOICES = re.compile(r"\s*\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)


class FunctionTool:
    """A tool made from a function that returns text or an `Observation`; usually written as the decorator `tool`."""

    def __init__(self, function: Callable[..., Any], *, settle: Callable[[str], Any] | None = None, **facts: Any) -> None:
        self.function = function
        self.name = function.__name__
        self.schema = function_schema(function)
        hints = typing.get_type_hints(function)
        self._revive = {key: TypeAdapter(hints[key]) for key in self.schema["parameters"]["properties"] if _changes(hints[key])}
        self.settle = settle
        self.facts = Facts(inline=not inspect.iscoroutinefunction(function), **facts)

    async def __call__(self, **arguments: Any) -> Observation:
        """Call the function and wrap text in an observation."""
        for key in self._revive.keys() & arguments.keys():
            arguments[key] = self._revive[key].validate_python(arguments[key])
        result = self.function(**arguments) if self.facts.inline else await self.function(**arguments)
        return result if isinstance(result, Observation) else Observation(text=result, tool=self.name)


@overload
def tool(function: Callable[..., Any]) -> FunctionTool: ...
@overload
def tool(**facts: Any) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(function: Callable[..., Any] | None = None, **facts: Any) -> Any:
    """Turn a typed function with a Google docstring into a tool: `@tool`, or `@tool(version="2", price=0.001)`.

    Args:
        function: async or plain; every argument is annotated and described under `Args:`.
        facts: what the gateway should know (`Facts`); `inline` follows from the function. And `settle`, called with the label of a
            trajectory that has ended, for a tool with state.

    Returns:
        A tool that is named after the function.

    Raises:
        InputError: an argument has no annotation, a type that JSON can not carry, no description, or choices that are not JSON.
    """
    return FunctionTool(function, **facts) if function else lambda function: FunctionTool(function, **facts)


def function_schema(function: Callable[..., Any]) -> dict[str, Any]:
    """The OpenAI function schema of a function or a bound method.

    Raises:
        InputError: see `tool`.
    """
    name = function.__name__
    description, arguments = _read_docstring(inspect.getdoc(function) or "")
    if not description:
        raise InputError(f"tool '{name}': it has no docstring; say in one line what it does, for the model")
    hints = typing.get_type_hints(function)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise InputError(f"tool '{name}': argument '{key}' can not be passed by name; write it out as a named argument")
        if key not in hints:
            raise InputError(f"tool '{name}': argument '{key}' has no type annotation")
        if key not in arguments:
            raise InputError(f"tool '{name}': argument '{key}' is not described under 'Args:' in the docstring")
        schema = _type_schema(hints[key])
        if schema is None:
            raise InputError(
                f"tool '{name}': argument '{key}' is of type {hints[key]}; use str, int, float, bool, Literal, Enum, list, tuple, dict, "
                "Any, or unions of them"
            )
        properties[key] = _described(schema, arguments[key], name, key)
        if parameter.default is parameter.empty:
            required.append(key)
        elif parameter.default is not None:
            properties[key]["default"] = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"name": name, "description": description, "parameters": parameters}


def _described(schema: dict[str, Any], text: str, name: str, key: str) -> dict[str, Any]:
    """The schema with its description; choices that stand at the end of it become an enum, as in transformers."""
    if (found := _CHOICES.search(text)) is None:
        return {**schema, "description": text}
    try:
        choices = json.loads(found[1])
    except ValueError:
        raise InputError(f"tool '{name}': the choices of argument '{key}' are not a JSON list: {found[1]}") from None
    return {**schema, "enum": choices, "description": text[: found.start()].strip()}


def _type_schema(annotation: Any) -> dict[str, Any] | None:
    """JSON schema of a type, or None where JSON can not carry it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return {}
    if annotation in _BARE:
        return {"type": _BARE[annotation]}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _enum([member.value for member in annotation])
    if origin is Literal:
        return _enum(list(inner))
    if origin in (Union, types.UnionType):
        return _union([part for part in inner if part is not type(None)], nullable=type(None) in inner)
    parts = [_type_schema(part) for part in inner if part is not ...]
    if any(part is None for part in parts) or (origin is tuple and (... in inner or len(parts) < 2)):
        return None
    if origin is list:
        return {"type": "array", "items": parts[0]}
    if origin is tuple:
        return {"type": "array", "prefixItems": parts}
    if origin is dict and inner[0] is str:
        return {"type": "object", "additionalProperties": parts[1]}
    return None


def _enum(values: list[Any]) -> dict[str, Any] | None:
    kinds = list(dict.fromkeys(_JSON_TYPES.get(type(value), "") for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values} if kinds and "" not in kinds else None


def _union(parts: list[Any], *, nullable: bool) -> dict[str, Any] | None:
    schemas = [_type_schema(part) for part in parts]
    known = [schema for schema in schemas if schema is not None]
    if len(known) < len(schemas):
        return None
    if len(known) == 1:
        schema = known[0]
    elif all(schema.keys() == {"type"} for schema in known):
        kinds = sorted({schema["type"] for schema in known})
        schema = {"type": kinds[0] if len(kinds) == 1 else kinds}
    else:
        schema = {"anyOf": known}
    if not nullable or not schema:
        return schema
    if "anyOf" in schema:
        return {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    values = {"enum": [*schema["enum"], None]} if "enum" in schema and None not in schema["enum"] else {}
    return {**schema, "type": kinds if "null" in kinds else [*kinds, "null"], **values}


def _changes(annotation: Any) -> bool:
    """Whether a value that JSON carries has another type in Python."""
    if annotation is tuple or get_origin(annotation) is tuple or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return True
    return get_origin(annotation) is not Literal and any(_changes(part) for part in get_args(annotation))


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The text before the first section, and the descriptions under `Args:`."""
    head, *sections = re.split(r"^(Args|Returns|Raises|Yields|Example|Examples|Note):\s*$", text, flags=re.MULTILINE)
    arguments: dict[str, str] = {}
    body = sections[sections.index("Args") + 1] if "Args" in sections else ""
    key = ""
    for line in inspect.cleandoc(body).splitlines():
        if start := re.match(r"\*{0,2}(\w+)(?: \([^)]*\))?:\s*(.*)", line):
            key = start[1]
            arguments[key] = start[2].strip()
        elif key and line.strip():
            arguments[key] = f"{arguments[key]} {line.strip()}".strip()
    return " ".join(head.split()), arguments
