"""`spadework recipes`: what can be trained by name, what it computes, and what separates two of them."""

import shutil
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from spadework.cli.frame import AsJson, Overrides, Scale, command_group, print_recipe, print_result

__all__ = ["app", "diff", "explain", "list_recipes", "show"]

app = command_group("List, show, explain and compare recipes.")

Name = Annotated[str, typer.Argument(metavar="RECIPE", help="A name from `spadework recipes list`, or a YAML file.")]


@app.command("list")
def list_recipes(as_json: AsJson = False) -> None:
    """List the recipes that come with the package: name, paper, and what it is; with --json also the scales.

    Example: spadework recipes list
    """
    from spadework.core.config import load_yaml
    from spadework.pipeline.scales import find_recipes, scales_of

    rows = []
    for name, path in sorted(find_recipes().items()):
        values = load_yaml(path)
        source = values.get("source") or {}
        scales = list(scales_of(values, path))
        rows.append({"name": name, "paper": source.get("paper", ""), "scales": scales, "description": values.get("description", "")})
    table = [(row["name"], row["paper"].removeprefix("arXiv ")) for row in rows]
    widths = [max(map(len, column)) + 2 for column in zip(*table, strict=True)]
    lines = [
        "".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)) + row["description"]
        for cells, row in zip(table, rows, strict=True)
    ]
    if sys.stdout.isatty():  # a file or a pipe gets whole lines
        columns = shutil.get_terminal_size().columns
        lines = [line if len(line) <= columns else line[: columns - 4].rstrip() + " ..." for line in lines]
    print_result(rows, as_json, "\n".join(lines))


@app.command()
def show(name: Name, overrides: Overrides = None, scale: Scale = "tiny", as_json: AsJson = False) -> None:
    """Print a recipe with every default filled in.

    Example: spadework recipes show search-r1 --scale paper
    """
    from spadework.pipeline.recipe import load_recipe

    print_recipe(load_recipe(name, overrides, scale), as_json)


@app.command()
def explain(name: Name, overrides: Overrides = None, scale: Scale = "tiny", as_json: AsJson = False) -> None:
    """Print every formula of an RL step with the recipe's numbers and its source, in the order of the step.

    Example: spadework recipes explain search-r1 --scale paper
    """
    from spadework.pipeline.explain import explain as lines_of
    from spadework.pipeline.explain import render
    from spadework.pipeline.recipe import load_recipe

    recipe = load_recipe(name, overrides, scale)
    lines = lines_of(recipe)
    print_result([asdict(line) for line in lines], as_json, render(recipe, lines))


@app.command()
def diff(
    first: Name,
    second: Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe to compare it with.")],
    scale: Scale = "tiny",
    as_json: AsJson = False,
) -> None:
    """Print what separates two recipes: parts and numbers, by stage.

    Example: spadework recipes diff search-r1 demo
    """
    from spadework.pipeline.differences import diff as compare
    from spadework.pipeline.differences import render_diff
    from spadework.pipeline.recipe import load_recipe

    found = compare(load_recipe(first, scale=scale), load_recipe(second, scale=scale))
    print_result(found.values(), as_json, render_diff(found))
