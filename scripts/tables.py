"""Tables of the documentation that are made from the code: parts with their formulas and sources, and recipes with their parts.

Run as `python scripts/tables.py` to write them between their marks (`<!-- table: NAME -->`), with `--check` to see whether they are as
they should be.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spadework.algorithms.credit.credit import credit_rules
from spadework.algorithms.losses.loss import Correction, Surrogate, Term, losses
from spadework.algorithms.selection.selection import selection_rules
from spadework.core.registry import Part, Registry
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.pipeline.recipe import load_recipe
from spadework.pipeline.scales import find_recipes
from spadework.rewards.reward import GroupReward, SpanReward, TurnReward, rewards
from spadework.rollout.strategy import strategies
from spadework.synthesis.gates.gate import gates
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.statements import WorldGraph

__all__ = ["PAGES", "tables", "with_tables"]

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "docs" / f"{page}.md" for page in ("rewards", "algorithms", "rollout", "synthesis", "makers", "curation", "recipes")]
_SCOPES = {"turn": TurnReward, "span": SpanReward, "group": GroupReward}


def tables() -> dict[str, str]:
    """Every table by its name."""
    found: dict[str, str] = {}
    head = ("rule", "formula", "source", "file")
    found["rewards"] = _table(head, (_row(name, part, _scope(part)) for name, part in _built_in(rewards)))
    for name, shelf in (
        ("strategies", strategies),
        ("selection", selection_rules),
        ("credit", credit_rules),
        ("makers", makers),
        ("gates", gates),
    ):
        found[name] = _table(head, (_row(rule, part) for rule, part in _built_in(shelf)))
    for name, kind in (("surrogates", Surrogate), ("corrections", Correction), ("terms", Term)):
        found[name] = _table(head, (_row(rule, part) for rule, part in _built_in(losses) if issubclass(part, kind)))
    found["examples"] = _table(("maker", "question", "answer", "pages"), _examples())
    found["recipes"] = _table(("recipe", "source", "rewards", "selection", "credit", "loss", "scales"), _recipes())
    return found


def _built_in(shelf: Registry[Any]) -> Iterable[tuple[str, type[Part]]]:
    """Those of the package by name; a script may have registered others."""
    parts = [(name, shelf.get(name)) for name in shelf.names()]
    return [(name, part) for name, part in parts if part.__module__.startswith(f"{shelf.package}.")]


def _scope(part: type[Part]) -> str:
    scope = next((word for word, base in _SCOPES.items() if issubclass(part, base)), "")
    weight = part.model_fields["weight"].default
    words = ", ".join(filter(None, [scope, "" if weight == 1.0 else f"weight {weight:g}"]))
    return f" ({words})" if words else ""


def _row(name: str, part: type[Part], suffix: str = "") -> Sequence[str]:
    return f"`{name}`{suffix}", part.published(), part.source, f"`{part.__module__.rpartition('.')[2]}`"


def _examples() -> Iterable[Sequence[str]]:
    """The first task of every maker on a small world."""
    graph = WorldGraph(build_world(WorldConfig(seed=1, pages=1_000)))
    for name, _ in _built_in(makers):
        if makers.get(name).needs == "pages":
            continue
        (task,) = tasks(makers.build(name), graph, seed=0, n=1)
        yield f"`{name}`", task.question, task.answers[0], str(len(task.evidence))


def _recipes() -> Iterable[Sequence[str]]:
    for name in sorted(find_recipes()):
        if name.startswith("demo"):
            continue
        recipe = load_recipe(name)
        assert recipe.rl is not None and recipe.source is not None
        parts = [
            ", ".join(f"`{part}`" for part in chosen)
            for chosen in (recipe.rl.rewards, recipe.rl.selection, recipe.rl.credit, recipe.rl.loss)
        ]
        yield f"`{name}`", recipe.source.paper, *parts, "tiny, paper"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell or " " for cell in line).replace("|  |", "| |") + " |" for line in lines)


def with_tables(text: str, made: dict[str, str]) -> str:
    """A page with its tables as they should be.

    Raises:
        SystemExit: the page has a mark of a table that there is not, or one that is not closed.
    """
    out, rest = "", text
    while "<!-- table: " in rest:
        before, _, after = rest.partition("<!-- table: ")
        name, _, tail = after.partition(" -->")
        _, end, rest = tail.partition("<!-- end -->")
        if name not in made or not end:
            raise SystemExit(f"<!-- table: {name} -->: no such table, or no <!-- end --> behind it")
        out += f"{before}<!-- table: {name} -->\n{made[name]}\n{end}"
    return out + rest


def main(arguments: list[str]) -> int:
    """Write the tables, or say which pages are behind; 1 if one is."""
    made = tables()
    behind = [page for page in PAGES if with_tables(page.read_text(encoding="utf-8"), made) != page.read_text(encoding="utf-8")]
    for page in behind:
        if "--check" in arguments:
            print(f"{page.relative_to(ROOT)}: run python scripts/tables.py")
        else:
            page.write_text(with_tables(page.read_text(encoding="utf-8"), made), encoding="utf-8")
    return int("--check" in arguments and bool(behind))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
