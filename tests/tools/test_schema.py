"""A mismatch names the argument, what was passed and what would be right."""

import pytest

from spadework.tools.schema import mismatch

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "enum": ["a", "b"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "share": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False},
        "note": {"type": ["string", "null"]},
        "free": {},
    },
    "required": ["name"],
}


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "a"},
        {"name": "b", "count": 9, "share": 1, "tags": [], "place": {"x": 1}, "note": None, "free": object()},
        {"name": "a", "share": 0.5, "tags": ["x", "y"], "unknown": "allowed, additionalProperties is not false"},
    ],
)
def test_a_match(arguments: dict[str, object]) -> None:
    assert mismatch(arguments, SCHEMA) is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "'name' is missing."),
        ({"name": "c"}, "'name' must be one of 'a', 'b', not 'c'."),
        ({"name": "a", "count": 0}, "'count' must be at least 1, not 0."),
        ({"name": "a", "count": 10}, "'count' must be at most 9, not 10."),
        ({"name": "a", "count": 1.0}, "'count' must be of type integer, not 1.0."),
        ({"name": "a", "count": True}, "'count' must be of type integer, not True."),
        ({"name": "a", "tags": ["x", 1]}, "'tags[1]' must be of type string, not 1."),
        ({"name": "a", "place": {}}, "'place.x' is missing."),
        ({"name": "a", "place": {"x": 1, "y": 2}}, "'place.y' is not an argument; the arguments are: x."),
        ("a", "the arguments must be of type object, not 'a'."),
        ({"name": "a", "note": 1}, "'note' must be of type string or null, not 1."),
    ],
)
def test_a_mismatch(arguments: object, problem: str) -> None:
    assert mismatch(arguments, SCHEMA) == problem
