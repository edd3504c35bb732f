import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from spadework.viewer.contents import Contents, read_contents


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake_run", Path(__file__).with_name("fake_run.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def run(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "demo"
    fake.write_fake_run(path, tasks=40)
    return path


@pytest.fixture(scope="session")
def contents(run: Path) -> Contents:
    return read_contents(run)


@pytest.fixture
def token_text() -> Callable[[int], str]:
    return lambda token: f" w{token}"
