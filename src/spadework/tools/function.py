"""A typed function with a Google docstring is a tool.

The signature gives the argument types and the docstring the descriptions, so the schema that the model sees can not drift from the
code. Only types that JSON can carry are taken: str, int, float, bool, Literal, list, dict and `T | None`; anything else would reach the
function in another type than it declares. A plain function runs inside the event loop, so it must be quick; write `async def` for
anything that waits.
"""

import inspect
import re
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin, overload

from spadework.core.errors import InputError
from spadework.tools.tool import Facts, Observation

__all__ = ["FunctionTool", "tool"]

_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}


class FunctionTool:
    """A tool made from a function that returns text or an `Observation`; usually written as the decorator `tool`."""

    def __init__(self, function: Callable[..., Any], **facts: Any) -> None:
        self.function = function
        self.name = function.__name__
        self.schema = _function_schema(function)
        self.facts = Facts(inline=not inspect.iscoroutinefunction(function), **facts)

    async def __call__(self, **arguments: Any) -> Observation:
        """Call the function and wrap text in an observation."""
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
        facts: what the gateway should know (`Facts`); `inline` follows from the function.

    Returns:
        A tool that is named after the function.

    Raises:
        InputError: an argument has no annotation, a type that JSON can not carry, or no description.
    """
    return FunctionTool(function, **facts) if function else lambda function: FunctionTool(function, **facts)


def _function_schema(function: Callable[..., Any]) -> dict[str, Any]:
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
                f"tool '{name}': argument '{key}' is of type {hints[key]}; use str, int, float, bool, Literal, list, dict or T | None"
            )
        properties[key] = {**schema, "description": arguments[key]}
        if parameter.default is parameter.empty:
            required.append(key)
        elif parameter.default is not None:
            properties[key]["default"] = parameter.default
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"name": name, "description": description, "parameters": parameters}


def _type_schema(annotation: Any) -> dict[str, Any] | None:
    """JSON schema of a type, or None where JSON can not carry it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in _JSON_TYPES:
        return {"type": _JSON_TYPES[annotation]}
    if origin is Literal and len({type(value) for value in inner}) == 1 and type(inner[0]) in _JSON_TYPES:
        return {"type": _JSON_TYPES[type(inner[0])], "enum": list(inner)}
    if origin is list:
        items = _type_schema(inner[0])
        return items and {"type": "array", "items": items}
    if origin is dict and inner[0] is str:
        return {"type": "object"}
    if origin in (Union, types.UnionType) and len(inner) == 2 and type(None) in inner:
        schema = _type_schema(next(part for part in inner if part is not type(None)))
        if schema is None:
            return None
        nullable = {**schema, "type": [schema["type"], "null"]}
        return {**nullable, "enum": [*schema["enum"], None]} if "enum" in schema else nullable
    return None


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
