"""Checks the arguments of a call against a tool's schema and explains a mismatch to the model.

The subset of JSON Schema that tool schemas use: type (or a list of types), anyOf, required, properties, additionalProperties (false or a
schema), items, prefixItems, enum, minimum and maximum. Other keywords are left to the tool. The explanation says what would be right,
because the model reads it and tries again.
"""

from collections.abc import Sequence
from typing import Any

__all__ = ["mismatch"]

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list, tuple),
    "null": (type(None),),
}


def mismatch(value: Any, schema: dict[str, Any], path: str = "") -> str | None:
    """Why a value does not match a schema, in one sentence; None if it does.

    Args:
        value: what the model passed.
        schema: JSON schema.
        path: where the value stands, for example `place.x`; empty for the arguments as a whole.
    """
    name = f"'{path}'" if path else "the arguments"
    kinds = schema.get("type")
    if kinds is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not any(_is(value, kind) for kind in kinds):
            return f"{name} must be of type {' or '.join(kinds)}, not {value!r}."
    if "enum" in schema and value not in schema["enum"]:
        return f"{name} must be one of {', '.join(map(repr, schema['enum']))}, not {value!r}."
    if "minimum" in schema and _is(value, "number") and value < schema["minimum"]:
        return f"{name} must be at least {schema['minimum']}, not {value!r}."
    if "maximum" in schema and _is(value, "number") and value > schema["maximum"]:
        return f"{name} must be at most {schema['maximum']}, not {value!r}."
    if "anyOf" in schema:
        problems = [mismatch(value, choice, path) for choice in schema["anyOf"]]
        if None not in problems:
            return " Or: ".join(dict.fromkeys(filter(None, problems)))
    if isinstance(value, dict):
        return _object_mismatch(value, schema, path)
    if isinstance(value, (list, tuple)) and "prefixItems" in schema:
        return _tuple_mismatch(value, schema["prefixItems"], name, path)
    if isinstance(value, (list, tuple)) and "items" in schema:
        return next(filter(None, (mismatch(item, schema["items"], f"{path}[{i}]") for i, item in enumerate(value))), None)
    return None


def _tuple_mismatch(value: Sequence[Any], items: list[dict[str, Any]], name: str, path: str) -> str | None:
    if len(value) != len(items):
        return f"{name} must have {len(items)} items, not {len(value)}."
    return next(
        filter(None, (mismatch(item, schema, f"{path}[{i}]") for i, (item, schema) in enumerate(zip(value, items, strict=True)))), None
    )


def _object_mismatch(value: dict[str, Any], schema: dict[str, Any], path: str) -> str | None:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    prefix = f"{path}." if path else ""
    for key in schema.get("required", ()):
        if key not in value:
            return f"'{prefix}{key}' is missing."
    for key, item in value.items():
        if key not in properties:
            if others is False:
                return f"'{prefix}{key}' is not an argument; the arguments are: {', '.join(properties) or 'none'}."
            if isinstance(others, dict) and (problem := mismatch(item, others, f"{prefix}{key}")):
                return problem
        elif problem := mismatch(item, properties[key], f"{prefix}{key}"):
            return problem
    return None


def _is(value: Any, kind: str) -> bool:
    # bool is a subclass of int in Python, but true is not a number in JSON.
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _PYTHON_TYPES.get(kind, (object,)))
