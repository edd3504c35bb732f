"""The command line: parse, build, call. One module per command or group; `frame.py` has what they share."""

import os
import sys
from typing import Annotated

import typer

from spadework import __version__
from spadework.cli import ask, compare, corpus, curate, eval, mcp, recipes, rollout, search, synth, tape, tasks, tools, train, view, world
from spadework.cli.frame import Root, command_group

__all__ = ["app", "main", "options"]

app = command_group("Train deep-research agents by reinforcement learning, from a corpus to a researcher that cites its sources.", cls=Root)
app.command()(train.demo)
app.command()(train.train)
app.command()(train.sft)
app.command()(compare.compare)
app.add_typer(corpus.app, name="corpus")
app.add_typer(world.app, name="world")
app.add_typer(search.app, name="search")
app.command()(synth.synth)
app.add_typer(tasks.app, name="tasks")
app.command()(curate.curate)
app.command()(rollout.rollout)
app.add_typer(tools.app, name="tools")
app.add_typer(tape.app, name="tape")
app.add_typer(mcp.app, name="mcp")
app.add_typer(eval.app, name="eval")
app.command()(ask.ask)
app.command()(view.view)
app.add_typer(recipes.app, name="recipes")


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Train deep-research agents by reinforcement learning, from a corpus to a researcher that cites its sources.

    First step: spadework demo --out runs/demo
    """


def main() -> None:
    """Entry point of the `spadework` command."""
    # Threads that wait by spinning make small products ten times slower when another process uses a core. torch reads this when it is
    # imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # a page may hold any character, whatever the locale
    app(prog_name="spadework")
