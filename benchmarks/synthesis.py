"""How fast the makers draw tasks, and in how much memory: a world of 100,000 pages, no gates, one process per maker.

No library draws such tasks, so `peer` is the bound that we hold ourselves to: 1,000 tasks a second of the time of one core, for the median
maker. `synthesis/MAKER` is the speed; `synthesis/MAKER/memory` is the peak memory of the process after all tasks, the world included,
beside its peak after the first tenth of them. Not measured: building the world, looking statements up on their pages, writing.
"""

import multiprocessing
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from benchmarks.table import Row
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.statements import WorldGraph
from spadework.tasks.task import Task

__all__ = ["BOUND", "rows"]

BOUND = 1_000
"""Tasks per second."""
_graphs: list[WorldGraph] = []
"""What the processes inherit."""


def rows(n: int = 10_000, pages: int = 100_000) -> list[Row]:
    """Two rows per maker.

    Args:
        n: tasks of each maker.
        pages: of the world.
    """
    graph = WorldGraph(build_world(WorldConfig(seed=1, pages=pages)))
    # Indices are built on first use, and belong to the world.
    assert graph.source and graph.entities and graph.world.subjects and graph.between("born", 0, 0) is not None and graph.of_type("city")
    _graphs[:] = [graph]
    found = []
    for name in [name for name in makers.names() if makers.get(name).needs != "pages"]:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as fresh:
            first, seconds, peak = fresh.submit(_measure, name, n).result()
        speed = round(n / seconds)
        found.append(Row(f"synthesis/{name}", speed, BOUND, round(speed / BOUND, 2), "tasks/s", n, "the bound"))
        found.append(Row(f"synthesis/{name}/memory", round(peak), round(first), round(first / peak, 2), "MB", n, "after a tenth of them"))
    return found


def _measure(name: str, n: int) -> tuple[float, float, float]:
    """Peak memory after a tenth of the tasks, seconds of one core for all of them, and peak memory after them."""
    drawn: Iterator[Task] = tasks(makers.build(name), _graphs[0], seed=0, n=n)
    before = time.process_time()
    for _ in islice(drawn, n // 10):
        pass
    first = _peak()
    for _ in drawn:
        pass
    return first, time.process_time() - before, _peak()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
