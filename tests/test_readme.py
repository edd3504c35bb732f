"""The README is true: its tree is the real tree, its commands exist, and every command explains itself."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from spadework.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
IGNORED = {line.strip().strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()} | {"src", "__pycache__"}
ROOT_COMMAND: Any = typer.main.get_command(app)


def folders_in_the_tree() -> dict[str, list[tuple[str, str]]]:
    """Folder -> (child, gloss) as the fenced block of the README has them."""
    [block] = [block for block in re.findall(r"```\n(.*?)```", README, flags=re.DOTALL) if block.startswith("src/spadework/")]
    lines = block.splitlines()[1:]
    found: dict[str, list[tuple[str, str]]] = {"src/spadework": [], ".": []}
    for line in lines:
        name, _, gloss = line.strip().partition(" ")
        found["src/spadework" if line.startswith("  ") else "."].append((name.rstrip("/"), gloss.strip()))
    return found


def real_folders(parent: Path) -> set[str]:
    return {path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".") and path.name not in IGNORED}


@pytest.mark.parametrize("parent", ["src/spadework", "."])
def test_the_tree_is_the_real_tree(parent: str) -> None:
    shown = folders_in_the_tree()[parent]
    assert {name for name, _ in shown} == real_folders(ROOT / parent)
    assert all(gloss for _, gloss in shown), "every folder has a gloss"


def commands(group: Any, prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command by its words, groups left out."""
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        found.update(commands(command, (*prefix, name)) if hasattr(command, "commands") else {(*prefix, name): command})
    return found


ALL = commands(ROOT_COMMAND)


def shown_commands(text: str) -> list[list[str]]:
    """Arguments of every `spadework ...` in code, up to a comment."""
    code = re.findall(r"`(spadework [^`]+)`", text) + re.findall(r"^\s*(spadework .+)$", text, flags=re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in code if not line.startswith("spadework COMMAND")]


def check(arguments: list[str]) -> None:
    """The command exists and has every option that is shown."""
    if arguments[0].startswith("--"):
        assert arguments[0] in {"--help", "--version"}
        return
    words = next((words for words in ALL if list(words) == arguments[: len(words)]), (arguments[0], "run"))
    assert words in ALL, f"there is no command 'spadework {' '.join(arguments[:2])}'"
    known = {option for parameter in ALL[words].params for option in parameter.opts} | {"--help"}
    for argument in arguments:
        if argument.startswith("--"):
            assert argument in known, f"'spadework {' '.join(words)}' has no option {argument}"


@pytest.mark.parametrize("arguments", shown_commands(README), ids=" ".join)
def test_a_command_of_the_readme_exists(arguments: list[str]) -> None:
    check(arguments)


def test_the_readme_names_both_commands_and_make_has_them() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"demo", "test", "check", "bench"} <= targets
    assert set(re.findall(r"make ([a-z]+)", README)) & targets >= {"demo", "test"}


@pytest.mark.parametrize("words", sorted(ALL), ids=" ".join)
def test_every_command_has_an_example_that_exists(words: tuple[str, ...]) -> None:
    help_text = " ".join((ALL[words].help or "").split())
    example = re.search(r"Example: spadework (.*)$", help_text)
    assert example, f"the help of 'spadework {' '.join(words)}' has no example"
    arguments = shlex.split(example[1])
    assert tuple(arguments[: len(words)]) == words or (words[1:] == ("run",) and arguments[0] == words[0])
    check(arguments)
