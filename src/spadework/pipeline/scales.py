"""Scales: one recipe file for a laptop and for the published setting.

A recipe of a published system says what it is made of, and under `scales` what differs between `tiny`, which learns on a CPU in minutes,
and `paper`, the published setting. What all recipes share at a scale stands once, in `scales/SCALE.yaml`. Later ones win:

    scales/SCALE.yaml  <-  the recipe  <-  its scales.SCALE  <-  the command line

Mappings are merged key by key and anything else is replaced. Base files set no rollout strategy, rewards, selection, credit or loss, so
that no system gets a part that its own file does not name.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import spadework
from spadework.core.config import load_yaml, merge
from spadework.core.errors import ConfigError

__all__ = ["PARTS", "at_scale", "find_recipes", "scales_of"]

PARTS = ("rollout", "rewards", "selection", "credit", "loss")
"""Keys of `rl` that make the algorithm; base files may not set them."""
_OWN = ("name", "description", "source", "notes", "scales", "scale", "imports")
"""What only the recipe itself says."""


def _folders() -> list[Path]:
    package = Path(spadework.__file__).parent
    return [package / "recipes", package.parents[1] / "recipes"]


def find_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for folder in _folders() if folder.is_dir() for path in sorted(folder.glob("*.yaml"))}


def scales_of(values: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """What a recipe as read from YAML says about its scales; empty if it has none.

    Raises:
        ConfigError: it is not a mapping of mappings, or sets what a scale cannot set.
    """
    scales = values.get("scales") or {}
    if not isinstance(scales, dict) or not all(isinstance(changes, dict | None) for changes in scales.values()):
        raise ConfigError(f"{path}: 'scales' is a mapping from a scale to what it changes, such as {{tiny: {{rl: {{steps: 80}}}}}}")
    for scale, changes in scales.items():
        _refuse(changes or {}, f"{path}: scales.{scale}", "it belongs to the recipe itself")
    return {scale: changes or {} for scale, changes in scales.items()}


def at_scale(values: dict[str, Any], path: Path, scale: str) -> dict[str, Any]:
    """A recipe as read from YAML, merged for a scale.

    Args:
        values: what the file says.
        path: the file; bases are looked for in the folder `scales` beside it, then in those of the package.
        scale: a recipe without scales is taken as it stands for `tiny`.

    Raises:
        ConfigError: there is no such scale or no base for it, or a scale or a base sets what it cannot set.
    """
    scales = scales_of(values, path)
    if not scales:
        if scale != "tiny":
            raise ConfigError(f"recipe '{path.stem}' has no scales, so it cannot be had at scale '{scale}'; leave --scale out")
        return {key: value for key, value in values.items() if key != "scales"}
    if scale not in scales:
        raise ConfigError(f"recipe '{path.stem}' has no scale '{scale}'; its scales: {', '.join(scales)}")
    own = {key: value for key, value in values.items() if key != "scales"}
    return merge(merge(_base(path, scale), own), scales[scale]) | {"scale": scale}


def _base(path: Path, scale: str) -> dict[str, Any]:
    for folder in (path.parent, *_folders()):
        file = folder / "scales" / f"{scale}.yaml"
        if file.is_file():
            base = load_yaml(file)
            _refuse(base, str(file), "a base holds what all recipes share")
            stage = base.get("rl")
            for part in (*PARTS, "critic", "teacher"):
                if isinstance(stage, dict) and part in stage:
                    raise ConfigError(f"{file}: 'rl.{part}' cannot be set by a base; every recipe names its own parts")
            return base
    raise ConfigError(f"scale '{scale}' has no base; write {path.parent / 'scales' / f'{scale}.yaml'} with what its recipes share")


def _refuse(values: Mapping[str, Any], place: str, reason: str) -> None:
    if wrong := [key for key in _OWN if key in values]:
        raise ConfigError(f"{place}: '{wrong[0]}' cannot be set by a scale; {reason}")
