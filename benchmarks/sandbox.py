"""What running Python in its sandbox costs, beside the bounds that the project has set: milliseconds per call.

`python_warm` is a call in an interpreter that a trajectory already has, `/no_state` one in a fresh interpreter that stands ready, with the
time to end it left to the background; `python_cold` is a call for which bubblewrap and the interpreter have to be started first.
"""

import asyncio
import sys
import time
from statistics import median

from benchmarks.table import Row
from spadework.core.errors import InputError
from spadework.tools.python import PythonConfig, PythonTool
from spadework.tools.sandboxes.choose import choose

__all__ = ["rows"]

WARM_MS, COLD_MS = 15.0, 150.0
CODE = "import math\nmath.sqrt(2)"


def rows(calls: int = 200) -> list[Row]:
    """Measure; nothing where there is no sandbox, with a line that says why.

    Args:
        calls: of the first row; the others make a tenth of them.
    """
    try:
        backend = choose("strongest")
    except InputError as error:
        print(f"sandbox: not measured; {error}", file=sys.stderr)
        return []
    few = max(3, calls // 10)
    found = [
        ("python_warm", WARM_MS, calls, asyncio.run(_calls(PythonTool(backend, PythonConfig()), calls, 0.0))),
        ("python_warm/no_state", WARM_MS, few, asyncio.run(_calls(PythonTool(backend, PythonConfig(state="none")), few, 0.5))),
        ("python_cold", COLD_MS, few, asyncio.run(_calls(PythonTool(backend, PythonConfig(state="none", warm=0)), few, 0.1))),
    ]
    return [Row(name, round(ms, 2), bound, round(bound / ms, 2), "ms (peer: bound)", n, "the bound") for name, bound, n, ms in found]


async def _calls(tool: PythonTool, count: int, pause: float) -> float:
    """Median milliseconds of a call, without the first one; `pause` seconds in between, in which interpreters get ready and end."""
    seconds = []
    try:
        await tool.pool.fill()
        for _ in range(count + 1):
            start = time.perf_counter()
            observation = await tool(code=CODE)
            seconds.append(time.perf_counter() - start)
            assert observation.text == "1.4142135623730951"
            await asyncio.sleep(pause)
    finally:
        await tool.close()
    return median(seconds[1:]) * 1e3
