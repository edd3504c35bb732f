"""What all tests share: one thread, no network, the same random examples on every machine, and real data where there is some."""

import os
import signal

# A shell that starts the tests in the background has Ctrl-C ignored, the commands that they start inherit it, and those never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before torch is imported by anything: two threads on two busy cores make a small matrix product a hundred times slower.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
)

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real data sets: SPADEWORK_DATA, or `../shared/data` beside the repository."""
    folder = Path(os.environ.get("SPADEWORK_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SPADEWORK_DATA to a folder that has them")
    return folder


@pytest.fixture
def spadework(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Calls a command in this process: (exit code, standard output, standard error)."""
    from spadework.cli.main import main

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["spadework", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        out, err = capfd.readouterr()
        return int(exit_info.value.code or 0), out, err

    return call
