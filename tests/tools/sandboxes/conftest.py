"""A tool to run code with: limits are small, so that what meets them is quick."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from spadework.tools.python import PythonConfig, PythonTool
from spadework.tools.sandboxes.bubblewrap import Bubblewrap
from spadework.tools.sandboxes.sandbox import Limits
from spadework.tools.tool import Observation

SMALL = Limits(seconds=20, cpu_seconds=20, memory_mb=512, scratch_mb=8, files=500, processes=16)
Run = Callable[[str], Observation]


@pytest.fixture(scope="module")
def run(backend: Bubblewrap) -> Iterator[Run]:
    """Runs code with so much time that no other limit is met too late on a busy machine."""
    yield from _runner(backend, SMALL)


@pytest.fixture(scope="module")
def run_for_a_second(backend: Bubblewrap) -> Iterator[Run]:
    """Runs code that is meant to meet the time limit."""
    yield from _runner(backend, SMALL.model_copy(update={"seconds": 1.0}))


def _runner(backend: Bubblewrap, limits: Limits) -> Iterator[Run]:
    made = PythonTool(backend, PythonConfig(limits=limits, warm=2, preload=()))
    yield lambda code: asyncio.run(made(code=code))
    asyncio.run(made.close())
