"""A shelf of named parts: how a recipe's `grpo` or `em` becomes an object.

A part is a frozen `Config` class with behaviour, so its fields are its options and its defaults are the published setting.
`@register(name, formula=..., source=...)` puts it on the shelf that its contract module declares; the formula stands there alone; the
documentation and `spadework recipes explain` fill it in. The shelf imports the modules of its own package at the first
look-up, so a recipe can name a part that nobody has imported; parts of other packages are found once their module is imported. An unknown
name or option is a `ConfigError` with the nearest known one.
"""

import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from spadework.core.config import Config
from spadework.core.errors import ConfigError

__all__ = ["Part", "Registry", "shown"]

_OPTION = re.compile(r"{(\w+)}")


class Part(Config):
    """Base of what stands on a shelf."""

    registered_as: ClassVar[str] = ""
    """Its name there."""
    formula: ClassVar[str] = ""
    """What it computes, in one line, with `{option}` where the value of an option stands."""
    source: ClassVar[str] = ""
    """Where that was published."""

    @classmethod
    def published(cls) -> str:
        """The formula with the defaults filled in; an option that must be given stands there by its name."""
        fields = cls.model_fields
        return _OPTION.sub(lambda found: found[1] if fields[found[1]].is_required() else shown(fields[found[1]].default), cls.formula)

    def filled(self) -> str:
        """The formula with the options filled in; the class's own words where it has none."""
        first = (type(self).__doc__ or "").partition("\n")[0]
        return _OPTION.sub(lambda found: shown(getattr(self, found[1])), self.formula) or first

    def unspoken(self) -> dict[str, str]:
        """Options that were given and do not stand in the formula, without the parts that stand inside this one."""
        spoken = {"weight", *_OPTION.findall(self.formula)}
        given = {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set - spoken}
        return {name: shown(value) for name, value in given.items() if not isinstance(value, Part) and not _holds_parts(value)}

    def parts(self) -> dict[str, "Part"]:
        """The parts that stand inside this one, by option, or by their own name where an option holds several."""
        found: dict[str, Part] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Part):
                found[name] = value
            elif _holds_parts(value):
                found |= value
        return found


def shown(value: Any) -> str:
    """A value as it stands in a formula: a part by its name, a constant by its number."""
    if isinstance(value, Part):
        return value.filled() if _OPTION.fullmatch(value.formula) else value.registered_as
    if isinstance(value, Config):
        given = {name: getattr(value, name) for name in type(value).model_fields if name in value.model_fields_set}
        return ", ".join(f"{name} {shown(inner)}" for name, inner in given.items())
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(shown, value))
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _holds_parts(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(inner, Part) for inner in value.values())


P = TypeVar("P", bound=Part)
C = TypeVar("C", bound=type[Part])


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

    def register(self, name: str, *, formula: str = "", source: str = "") -> Callable[[C], C]:
        """Class decorator: put a part on the shelf.

        Args:
            name: what recipes call it.
            formula: what it computes, in one line, with `{option}` where the value of an option stands.
            source: where that was published.

        Raises:
            ValueError: another class has this name, or the formula names an option that the part does not have.
        """

        def decorate(part: C) -> C:
            if name in self._parts:
                raise ValueError(f"{self.kind} '{name}' is registered twice: {self._parts[name].__qualname__} and {part.__qualname__}")
            options: type[Part] = part
            if unknown := set(_OPTION.findall(formula)) - options.model_fields.keys():
                raise ValueError(f"{self.kind} '{name}': the formula names {', '.join(sorted(unknown))}, which is no option")
            part.registered_as, part.formula, part.source = name, formula, source
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
