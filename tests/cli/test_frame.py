"""The error boundary, and how fast help is."""

import errno
import json
import subprocess
import sys
import time

import pytest

from spadework.cli.frame import AsJson, DefaultRun, Root, command_group, print_result
from spadework.core.errors import BrokenError, ConfigError, InputError


def exit_code(error: BaseException, command: str = "train") -> int:
    """Exit code of an application whose command raises this."""
    app = command_group("test", cls=Root)

    @app.command(command)
    def raising() -> None:
        raise error

    @app.command()
    def other() -> None: ...

    with pytest.raises(SystemExit) as exit_info:
        app([command])
    return int(exit_info.value.code or 0)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a.yaml:3: no\nsuch key"), 2, "error: a.yaml:3: no such key"),
        (ConfigError("bad knob"), 2, "error: bad knob"),
        (BrokenError("the server is gone"), 1, "error: the server is gone"),
        (OSError(errno.ENOSPC, "No space", "runs/a"), 2, "error: runs/a: the disk is full; free some space, then continue with --resume"),
    ],
)
def test_errors_are_one_line(error: Exception, code: int, line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code(error) == code
    assert capfd.readouterr() == ("", f"{line}\n")


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_code(ZeroDivisionError())
    with pytest.raises(PermissionError):
        exit_code(PermissionError(errno.EACCES, "no"))


def test_ctrl_c_says_how_to_continue(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["spadework", "train", "my recipe", "--resume", "--out", "runs/a"])
    assert exit_code(KeyboardInterrupt()) == 130
    assert capfd.readouterr().err == "stopped; continue with: spadework train 'my recipe' --out runs/a --resume\n"
    assert exit_code(KeyboardInterrupt(), command="search") == 130
    assert capfd.readouterr().err == "stopped\n"


def test_run_need_not_be_named(capfd: pytest.CaptureFixture[str]) -> None:
    app = command_group("test", cls=DefaultRun)

    @app.command()
    def run(folder: str, as_json: AsJson = False) -> None:
        print_result({"folder": folder, "nothing": float("inf")}, as_json, f"run {folder}")

    @app.command()
    def compare(folder: str) -> None:
        print(f"compare {folder}")

    for arguments in (["a"], ["run", "a"], ["a", "--json"], ["compare", "a"]):
        with pytest.raises(SystemExit):
            app(arguments)
    first, second, *rest, last = capfd.readouterr().out.splitlines()
    assert (first, second, last) == ("run a", "run a", "compare a")
    assert json.loads("\n".join(rest)) == {"folder": "a", "nothing": None}


def test_help_is_instant_because_heavy_packages_wait() -> None:
    heavy = ("torch", "transformers", "tantivy", "pyarrow", "numpy")
    script = f"import sys, spadework.cli.main; print([name for name in {heavy} if name in sys.modules])"
    start = time.perf_counter()
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded == "[]\n"
    # Three times what it takes on a busy machine; importing torch alone takes longer.
    assert time.perf_counter() - start < 2.0
