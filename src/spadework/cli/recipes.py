"""`spadework recipes`: what can be trained by name."""

from typing import Annotated

import typer

from spadework.cli.frame import AsJson, Overrides, Scale, command_group, print_recipe, print_result

__all__ = ["app", "list_recipes", "show"]

app = command_group("List and show recipes.")


@app.command("list")
def list_recipes(as_json: AsJson = False) -> None:
    """List the recipes that come with the package.

    Example: spadework recipes list
    """
    from spadework.core.config import load_yaml
    from spadework.pipeline.scales import find_recipes

    found = {name: str(load_yaml(path).get("description", "")) for name, path in sorted(find_recipes().items())}
    width = max(map(len, found), default=0) + 2
    rows = [{"name": name, "description": description} for name, description in found.items()]
    print_result(rows, as_json, "\n".join(f"{name:<{width}}{description}".rstrip() for name, description in found.items()))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="A name from `spadework recipes list`, or a YAML file.")],
    overrides: Overrides = None,
    scale: Scale = "tiny",
    as_json: AsJson = False,
) -> None:
    """Print a recipe with every default filled in.

    Example: spadework recipes show search-r1 --scale paper
    """
    from spadework.pipeline.recipe import load_recipe

    print_recipe(load_recipe(name, overrides, scale), as_json)
