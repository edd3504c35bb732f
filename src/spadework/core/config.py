"""Configuration base: typed, frozen, and strict. An unknown key is an error that names the nearest known one.

A recipe is one YAML file. `load_yaml` reads it, `apply_overrides` merges dotted `a.b=c` arguments of the command line, and the pydantic
model of the component validates the result. There are no environment variables here and no interpolation.
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from spadework.core.errors import ConfigError

__all__ = ["Config", "apply_overrides", "load_yaml", "merge"]


class Config(BaseModel):
    """Base of every configuration class: frozen, keyword-only, unknown keys refused, a docstring under each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: dict[str, Any], *, source: str) -> Self:
        """Validate plain values.

        Args:
            values: nested mappings as read from YAML.
            source: the file or flag they came from; named in errors.

        Raises:
            ConfigError: one line that names the key, the value and what would be right.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"{source}: {_explain(cls, error)}") from None


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"unknown key '{key}'; {hint}"
    if first["type"] == "missing":
        return f"'{key}' is missing"
    return f"'{key}': {first['msg']} (got {first.get('input')!r})"


def _fields_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Names of the fields of the model nested at a location."""
    current: type[BaseModel] | None = model
    for part in location:
        if current is None or part not in current.model_fields:
            break
        annotation = current.model_fields[str(part)].annotation
        candidates = [annotation, *get_args(annotation)]
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return list(current.model_fields) if current else []


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, or is not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, found {type(values).__name__}")
    return values


def apply_overrides(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a copy of nested values with dotted overrides such as `rl.steps=20` applied.

    The right side is read as YAML, so numbers, booleans, lists and null have their types.

    Raises:
        ConfigError: an override is not of the form key=value, or runs through a value that is not a mapping.
    """
    result = _copy(values)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"override '{override}' is not of the form a.b=c")
        *parents, last = key.strip().split(".")
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise ConfigError(f"override '{override}': '{parent}' is a value, not a section")
        try:
            target[last] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"override '{override}': the value is not YAML; quote it") from None
    return result


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values with others on top: mappings are merged key by key, anything else is replaced, by null too."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _copy(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in values.items()}
