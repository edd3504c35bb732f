"""What all commands share: how options are spelled, how results are printed, and what happens to errors.

A command parses, builds and calls; it holds no logic of its own. Results go to standard output, progress and errors to standard error.
Heavy packages are imported inside the commands, so that help is instant. The error boundary is `Root`: one line and exit code 2 for wrong
input, 1 for broken infrastructure, 130 for Ctrl-C with the command that continues. Anything else is a bug and keeps its traceback.
"""

import errno
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml
from typer.core import TyperGroup

from spadework.core.config import Config
from spadework.core.errors import InputError, SpadeworkError
from spadework.core.events import json_text

__all__ = [
    "AsJson",
    "CorpusFolder",
    "DefaultRun",
    "DryRun",
    "NewFile",
    "NewFolder",
    "OneCorpus",
    "OneWorld",
    "OtherCorpus",
    "Overrides",
    "Pages",
    "RerankModel",
    "Resume",
    "Root",
    "RunFolder",
    "Scale",
    "SearchMode",
    "Seed",
    "Stage",
    "StageOption",
    "command_group",
    "print_recipe",
    "print_result",
]

_RESUMABLE = {"demo", "train", "sft", "compare", "synth", "curate", "rollout", "corpus read"}

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
CorpusFolder = Annotated[Path, typer.Option("--corpus", metavar="DIR", help="A folder written by `spadework corpus build`.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and stop.")]
NewFile = Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")]
NewFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.")]
OneCorpus = Annotated[
    Path | None, typer.Option("--corpus", metavar="DIR", help="Take a corpus folder (`spadework corpus build`).", show_default=False)
]
OneWorld = Annotated[int | None, typer.Option("--world", metavar="SEED", help="Take the world of this seed.", show_default=False)]
OtherCorpus = Annotated[
    Path | None,
    typer.Option("--corpus", metavar="DIR", help="Search in this corpus folder, not the run's held-out pages.", show_default=False),
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="A.B=C", help="Settings by dotted key, for example rl.steps=20.", show_default=False)
]
Pages = Annotated[int, typer.Option("--pages", metavar="N", help="Pages of the world.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what is there, if something is.")]
RerankModel = Annotated[
    str | None,
    typer.Option("--rerank", metavar="MODEL", help="Let this cross-encoder read the first 30 documents again.", show_default=False),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Scale = Annotated[str, typer.Option("--scale", metavar="SCALE", help="tiny learns on a CPU, paper is the published setting.")]
SearchMode = Annotated[
    Literal["bm25", "dense", "hybrid"],
    typer.Option("--mode", help="Rank by words, by meaning, or by both. The last two need a corpus that was built with --dense."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of everything.", show_default=False)]

Stage = Literal["reading", "sft", "rl"]
StageOption = Annotated[
    Stage | None, typer.Option("--stage", help="The policy after this stage; the last one if not given.", show_default=False)
]


class Root(TyperGroup):
    """The top-level group: the error boundary around every command."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command and turn what it raises into one line and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _say(_how_to_continue(ctx.invoked_subcommand))
            raise typer.Exit(130) from None
        except InputError as error:
            _say(f"error: {error}")
            raise typer.Exit(2) from None
        except SpadeworkError as error:
            _say(f"error: {error}")
            raise typer.Exit(1) from None
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            place = f"{error.filename}: " if error.filename else ""
            _say(f"error: {place}the disk is full; free some space, then continue with --resume")
            raise typer.Exit(2) from None


class DefaultRun(TyperGroup):
    """A group whose command `run` need not be named: `spadework eval RUN` is `spadework eval run RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name in where it is missing."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["run", *args]
        return super().parse_args(ctx, args)


def command_group(help_text: str, *, cls: type[TyperGroup] = TyperGroup) -> typer.Typer:
    """A group of commands with our settings."""
    return typer.Typer(
        help=help_text, cls=cls, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )


def print_result(value: Any, as_json: bool, text: str) -> None:
    """Print a result.

    Args:
        value: plain values, for programs.
        as_json: whether a program reads it.
        text: the same, for people.
    """
    print(json_text(value) if as_json else text)


def print_recipe(recipe: Config, as_json: bool) -> None:
    """Print a resolved recipe: YAML for people, which can be saved and run again."""
    values = recipe.model_dump(mode="json")
    print_result(values, as_json, yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip())


def _say(text: str) -> None:
    print(" ".join(text.split()), file=sys.stderr)


def _how_to_continue(command: str | None) -> str:
    if not {command, " ".join(sys.argv[1:3])} & _RESUMABLE:
        return "stopped"
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    return f"stopped; continue with: {shlex.join(['spadework', *arguments, '--resume'])}"
