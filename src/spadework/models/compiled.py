"""Functions compiled for the processor by numba, without the interpreter's lock; the machine code is kept on disk where that is possible.

It is kept beside the package, in the user's cache folder, or in NUMBA_CACHE_DIR. On a read-only system with none of them each process
compiles for itself, which takes some ten seconds.
"""

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled"]

Function = Callable[..., Any]


def compiled(fastmath: bool | set[str]) -> Callable[[Function], Function]:
    """Decorator: compile a function at its first call.

    Args:
        fastmath: which rules of floating-point arithmetic may be relaxed (LLVM's flags); True for all.
    """
    options = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}

    def decorate(function: Function) -> Function:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            return njit(**options)(function)

    return decorate
