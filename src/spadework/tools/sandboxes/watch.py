"""What a sandbox uses, seen from outside through the host's /proc: its processes, their memory, and the files in its /tmp.

Limits of the kernel hold for one process, or for bytes; these three do not: memory of all processes together, and the number of files,
each of which holds kernel memory that no quota counts. So the supervisor looks twenty times a second, and after every call.
"""

import os

from spadework.tools.sandboxes.sandbox import Spent

__all__ = ["children", "spent"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""What the kernel answers about a process that ends while it is looked at."""


def children(pid: int) -> list[int]:
    """Numbers of the processes that a process has started or inherited; none if it is gone."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += [int(child) for child in _read(f"/proc/{pid}/task/{thread}/children").split()]
    except _GONE:
        pass
    return found


def spent(head: int, memory_mb: int) -> Spent:
    """What the sandbox whose first process is `head` uses.

    Args:
        head: as the host counts.
        memory_mb: the limit. Memory that processes share after a fork counts for each of them unless that would go beyond it.
    """
    processes = [head]
    for pid in processes:
        processes += children(pid)
    memory = sum(_resident(pid) for pid in processes)
    if memory > memory_mb << 20:
        memory = sum(_proportional(pid) for pid in processes)
    return Spent(len(processes), memory / (1 << 20), _files(head))


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _resident(pid: int) -> int:
    try:
        return int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE
    except _GONE:
        return 0


def _proportional(pid: int) -> int:
    """Resident memory, where a page that n processes share counts one n-th."""
    try:
        lines = _read(f"/proc/{pid}/smaps_rollup").splitlines()
    except _GONE:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def _files(head: int) -> int:
    """Files in the sandbox's /tmp; its first process sees them under its own root."""
    try:
        found = os.statvfs(f"/proc/{head}/root/tmp")
    except _GONE:
        return 0
    return found.f_files - found.f_ffree
