"""A tool to run code with: limits are small, so that what meets them is quick."""

import asyncio
import shutil
from collections.abc import Callable, Iterator

import pytest

from spadework.core.errors import InputError
from spadework.tools.python import PythonConfig, PythonTool
from spadework.tools.sandboxes.bubblewrap import Bubblewrap
from spadework.tools.sandboxes.sandbox import Limits
from spadework.tools.tool import Observation

SMALL = Limits(seconds=1, cpu_seconds=5, memory_mb=512, scratch_mb=8, files=500, processes=16)


@pytest.fixture(scope="session")
def backend() -> Bubblewrap:
    try:
        return Bubblewrap()
    except InputError as error:
        if shutil.which("bwrap") is None:
            pytest.skip(str(error))
        pytest.skip(f"bubblewrap is installed and does not work: {error}")


@pytest.fixture(scope="module")
def tool(backend: Bubblewrap) -> Iterator[PythonTool]:
    """Keeps state per trajectory."""
    made = PythonTool(backend, PythonConfig(limits=SMALL, warm=2, preload=()))
    yield made
    asyncio.run(made.close())


@pytest.fixture(scope="module")
def run(tool: PythonTool) -> Callable[[str], Observation]:
    return lambda code: asyncio.run(tool(code=code))
