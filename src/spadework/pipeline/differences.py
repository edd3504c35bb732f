"""What separates two recipes: parts that one has and the other has not, parts that differ, and every number that differs, by stage."""

import shutil
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from spadework.core.registry import shown
from spadework.pipeline.explain import STAGES, Line, explain
from spadework.pipeline.recipe import Recipe
from spadework.pipeline.scales import PARTS

__all__ = ["Differences", "Section", "diff", "render_diff"]

Setting = tuple[str, str, str]
"""Dotted key, value of the first, value of the second; a dash where one has no such key."""
_STAGE_OF = {"rl": "rollout", "limits": "rollout"} | {
    f"rl.{key}": "optimiser" for key in ("learner", "ppo_epochs", "mini_batches", "critic", "checkpoint_every")
}
"""Where settings beside the parts stand; others stand under their section of the recipe."""
_SECTIONS = ("data", "model", "tools", "planner", "reading", "sft", *STAGES, "eval", "other")
_NOT_COMPARED = ("name", "description", "source", "notes", "scale", "imports", "rl.teacher", *(f"rl.{part}" for part in PARTS))


@dataclass(slots=True)
class Section:
    """The differences of one stage."""

    only_first: list[Line] = field(default_factory=list)
    only_second: list[Line] = field(default_factory=list)
    changed: list[tuple[Line, Line]] = field(default_factory=list)
    """Parts that both have, with other numbers or other parts inside."""
    same: list[str] = field(default_factory=list)
    """Names of the parts that are identical."""
    settings: list[Setting] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Differences:
    """Of two recipes, by stage, in order."""

    first: str
    second: str
    sections: dict[str, Section]

    def values(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def diff(first: Recipe, second: Recipe) -> Differences:
    """Compare two resolved recipes."""
    sections = {name: Section() for name in _SECTIONS}
    left, right = _by_part(explain(first)), _by_part(explain(second))
    for stage in STAGES:
        mine = {part: lines for (at, part), lines in left.items() if at == stage}
        others = {part: lines for (at, part), lines in right.items() if at == stage}
        found = sections[stage]
        for part, lines in mine.items():
            if part not in others:
                found.only_first += lines
            elif lines == others[part]:
                found.same.append(part)
            else:
                found.changed += _pairs(lines, others[part], found)
        found.only_second += [line for part, lines in others.items() if part not in mine for line in lines]
        if stage == "selection" and mine.keys() == others.keys() and list(mine) != list(others):
            found.settings.append(("order", ", ".join(mine), ", ".join(others)))
    # A critic that only one of them has is a line of its own; its single settings would be noise.
    both = all(recipe.rl and recipe.rl.critic for recipe in (first, second))
    a, b = _settings(first, critic=both), _settings(second, critic=both)
    for key in [*a, *(key for key in b if key not in a)]:
        if a.get(key, "-") != b.get(key, "-"):
            sections[_section(key)].settings.append((key, a.get(key, "-"), b.get(key, "-")))
    return Differences(first.name, second.name, {name: section for name, section in sections.items() if section != Section()})


def _by_part(lines: Iterable[Line]) -> dict[tuple[str, str], list[Line]]:
    """The lines of each part, with what stands inside it; sentences about settings are left to the settings."""
    found: dict[tuple[str, str], list[Line]] = {}
    last: list[Line] = []
    for line in lines:
        if line.stage == "optimiser" or not line.part:
            continue
        if line.depth == 0:
            last = found.setdefault((line.stage, line.part), [])
        last.append(line)
    return found


def _pairs(mine: list[Line], others: list[Line], section: Section) -> list[tuple[Line, Line]]:
    """Lines of a part that both have, where they differ; what stands inside only one of them goes to the section."""
    names = {line.part for line in mine} & {line.part for line in others}
    section.only_first += [line for line in mine if line.part not in names]
    section.only_second += [line for line in others if line.part not in names]
    by_name = {line.part: line for line in others}
    return [(line, by_name[line.part]) for line in mine if line.part in names and line != by_name[line.part]]


def _settings(recipe: Recipe, *, critic: bool) -> dict[str, str]:
    left_out = _NOT_COMPARED if critic else (*_NOT_COMPARED, "rl.critic")
    return {
        key: value
        for key, value in _flat(recipe.model_dump(mode="json"), "")
        if not any(key == left or key.startswith(f"{left}.") for left in left_out)
    }


def _flat(values: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", shown(value)


def _section(key: str) -> str:
    parts = key.split(".")
    for length in (2, 1):
        name = _STAGE_OF.get(".".join(parts[:length]), ".".join(parts[:length]))
        if name in _SECTIONS:
            return name
    return "other"


def render_diff(differences: Differences, width: int | None = None) -> str:
    """The differences for a terminal; identical parts are one line.

    Args:
        differences: of two recipes.
        width: columns; those of the terminal if not given.
    """
    width = min(width or shutil.get_terminal_size().columns, 140)
    first, second = differences.first, differences.second
    label = max(len(first), len(second))
    out = [f"{first} -> {second}"]
    for name, section in differences.sections.items():
        rows: list[str] = []
        for mine, other in section.changed:
            rows.append(f"  ~ {mine.part}")
            rows += _formula(mine, f"      {first.ljust(label)}  ", width) + _formula(other, f"      {second.ljust(label)}  ", width)
        for sign, lines in (("-", section.only_first), ("+", section.only_second)):
            for line in lines:
                rows += _formula(line, f"  {sign} {'  ' * line.depth}{line.part}: ", width)
        for key, a, b in section.settings:
            rows += textwrap.wrap(f"{key}  {a} -> {b}", width, initial_indent="  ", subsequent_indent="      ")
        if rows:
            out += ["", name.upper(), *rows]
    same = [f"{name} {', '.join(section.same)}" for name, section in differences.sections.items() if section.same]
    if same:
        out += ["", *textwrap.wrap(f"same: {'; '.join(same)}", width, subsequent_indent="      ")]
    return "\n".join(out if len(out) > 1 else [*out, "no differences"])


def _formula(line: Line, start: str, width: int) -> list[str]:
    options = "".join(f"; {key} {value}" for key, value in line.options.items())
    rest = " " * min(len(start), width // 3)
    return textwrap.wrap(f"{line.formula}{options}", width, initial_indent=start, subsequent_indent=rest)
