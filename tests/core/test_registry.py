"""A shelf of parts: names, options, near matches."""

import pytest

from spadework.core.errors import ConfigError
from spadework.core.registry import Part as Base
from spadework.core.registry import Registry


class Part(Base):
    size: int = 3


def shelf() -> Registry[Part]:
    # A package without modules: nothing is loaded by itself.
    parts: Registry[Part] = Registry("part", "spadework.viewer")
    parts.register("small")(Part)
    return parts


def test_a_part_is_built_from_its_name_and_options() -> None:
    assert shelf().build("small", {"size": 5}) == Part(size=5)
    assert shelf().build("small") == Part(size=3)


def test_errors_name_the_nearest_name_and_option() -> None:
    with pytest.raises(ConfigError, match=r"^run\.yaml: unknown part 'smal'; did you mean 'small'\?$"):
        shelf().build("smal", source="run.yaml")
    with pytest.raises(ConfigError, match=r"unknown part 'zzz'; known: small$"):
        shelf().build("zzz")
    with pytest.raises(ConfigError, match=r"^recipe: small: unknown key 'sizes'; did you mean 'size'\?$"):
        shelf().build("small", {"sizes": 5})


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="part 'small' is registered twice: Part and Part"):
        shelf().register("small")(Part)


def test_a_shelf_loads_its_own_package_at_the_first_look_up() -> None:
    from spadework.rewards.reward import rewards

    assert {"em", "f1", "contains", "format", "economy", "evidence"} <= set(rewards.names())
