"""A command line in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spadework.cli.main import main


@pytest.fixture
def spadework(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Calls a command: (exit code, standard output, standard error)."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["spadework", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        out, err = capfd.readouterr()
        return int(exit_info.value.code or 0), out, err

    return call
