"""A shelf of named parts: how a recipe's `grpo` or `em` becomes an object.

A part is a frozen `Config` class with behaviour, so its fields are its options and its defaults are the published setting.
`@register(name)` puts it on the shelf that its contract module declares. The shelf imports the modules of its own package at the first
look-up, so a recipe can name a part that nobody has imported; parts of other packages are found once their module is imported. An unknown
name or option is a `ConfigError` with the nearest known one.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from spadework.core.config import Config
from spadework.core.errors import ConfigError

__all__ = ["Registry"]

P = TypeVar("P", bound=Config)
C = TypeVar("C", bound=type[Config])


class Registry(Generic[P]):
    """The parts of one kind by name."""

    def __init__(self, kind: str, package: str) -> None:
        """Declare a shelf.

        Args:
            kind: what a part is called in errors, for example "credit rule".
            package: the package whose modules hold the built-in parts.
        """
        self.kind = kind
        self.package = package
        self._parts: dict[str, type[P]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[C], C]:
        """Class decorator: put a part on the shelf.

        Raises:
            ValueError: another class has this name.
        """

        def decorate(part: C) -> C:
            if name in self._parts:
                raise ValueError(f"{self.kind} '{name}' is registered twice: {self._parts[name].__qualname__} and {part.__qualname__}")
            self._parts[name] = part  # type: ignore[assignment]  # the contract module types its `register`
            return part

        return decorate

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load()
        return sorted(self._parts)

    def get(self, name: str, *, source: str = "recipe") -> type[P]:
        """The class with this name.

        Raises:
            ConfigError: there is none; the message has the nearest name.
        """
        self._load()
        if name not in self._parts:
            near = difflib.get_close_matches(name, self._parts, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(self.names())}"
            raise ConfigError(f"{source}: unknown {self.kind} '{name}'; {hint}")
        return self._parts[name]

    def build(self, name: str, options: Mapping[str, Any] | None = None, *, source: str = "recipe") -> P:
        """Make the part with this name.

        Args:
            name: as registered.
            options: values of its fields; the others keep the published setting.
            source: the file or key they came from; named in errors.

        Raises:
            ConfigError: unknown name, unknown option, or a value of the wrong type.
        """
        return self.get(name, source=source).parse(dict(options or {}), source=f"{source}: {name}")

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self.package)
        for module in sorted(found.name for found in pkgutil.iter_modules(package.__path__)):
            importlib.import_module(f"{self.package}.{module}")
