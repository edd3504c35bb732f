"""Slices of a pack in several threads.

Torch shares out one operation at a time, and its threads meet after each. Between the matrix products of a layer stand compiled loops that
know nothing of these threads, so a second core shortened a step by a quarter only. Here a thread takes a run of slices through all their
operations with one thread of torch, and the threads meet once. Which slices a thread has depends on nothing but their number, so a result
is the same every time; with another number of threads sums are taken in another order.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from typing import TypeVar

import torch

__all__ = ["in_threads"]

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_threads(work: Callable[[Sequence[Part]], Result], parts: Sequence[Part]) -> list[Result]:
    """Call `work` on runs of parts, one per thread that torch has, and return the results in order. No gradients are recorded in it."""
    threads = torch.get_num_threads()
    count = min(threads, len(parts))
    if count <= 1:
        return [work(parts)]
    bounds = [len(parts) * number // count for number in range(count + 1)]
    runs = [parts[first:last] for first, last in pairwise(bounds)]
    # The setting holds for the thread that calls it; whoever comes later takes over the last one, which is the old one again.
    others = [_pool(threads).submit(_alone, work, run, torch.is_inference_mode_enabled()) for run in runs[1:]]
    torch.set_num_threads(1)
    try:
        first = work(runs[0])
    finally:
        wait(others)
        torch.set_num_threads(threads)
    return [first, *(other.result() for other in others)]


def _alone(work: Callable[[Sequence[Part]], Result], parts: Sequence[Part], inference: bool) -> Result:
    # These modes are a thread's own: what is made in one of them can not be written to outside of it.
    with torch.inference_mode(inference), torch.no_grad():
        return work(parts)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, "slices", initializer=torch.set_num_threads, initargs=(1,))
