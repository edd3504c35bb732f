"""A folder out of which no path leads: files are opened step by step from its descriptor, and no step follows a link.

Every part of a path is opened relative to the folder before it (`openat` with `O_NOFOLLOW`), so a link that is put there between a check
and the opening is refused by the kernel, as one that stood there before. A path is taken as it is written: nothing is decoded, expanded, or
normalised, so `%2e%2e`, `~` and look-alikes of dots are names like any other, and such files do not exist. Absolute paths, `..`, hidden
names, and everything that is not a regular file (devices, pipes, sockets) are refused; so is a file above a size, before it is read.

What it does not do: a hard link is the file itself, and a file system mounted inside the folder belongs to it. Whoever may write into the
folder from outside can put such things there.
"""

import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from spadework.core.errors import InputError, ToolError

__all__ = ["Confined", "Entry"]

_DEPTH = 64
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a pipe would wait for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the folder."""

    path: str
    """From the root, with slashes."""
    size: int
    """In bytes."""
    changed: int
    """Nanoseconds since 1970."""


class Confined:
    """Files below a root."""

    def __init__(self, root: Path) -> None:
        """Take a root; it may be a link itself, because the user names it.

        Raises:
            InputError: there is no such folder, or the system cannot open files relative to one.
        """
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; name the folder with the documents")
        if os.open not in os.supports_dir_fd or os.scandir not in os.supports_fd:
            raise InputError("this system cannot confine files to a folder (no openat); run it on Linux or macOS")
        self.root = root.resolve()

    def read(self, path: str, max_bytes: int) -> bytes:
        """The bytes of a file.

        Raises:
            ToolError: the path leads out of the folder, or to nothing that may be read.
        """
        *folders, name = _split(path) or [""]
        if not name:
            raise ToolError("The path is empty. Name a file as list_files shows it.")
        with ExitStack() as stack, _explained(path):
            parent = self._enter(stack, folders)
            before = os.stat(name, dir_fd=parent, follow_symlinks=False)
            # Asked before opening, because opening a device can do something.
            _check(path, before, max_bytes)
            descriptor = os.open(name, _FILE, dir_fd=parent)
            with os.fdopen(descriptor, "rb") as file:
                _check(path, os.fstat(descriptor), max_bytes)
                raw = file.read(max_bytes + 1)
        if len(raw) > max_bytes:
            raise ToolError(_too_large(path, len(raw), max_bytes))
        return raw

    def entries(self, folder: str = "") -> Iterator[Entry]:
        """The files below a folder in the order of their names, without hidden and special ones and links.

        Raises:
            ToolError: the path leads out of the root, or to no folder.
        """
        parts = _split(folder)
        with ExitStack() as stack, _explained(folder):
            yield from _walk(self._enter(stack, parts), "/".join(parts), _DEPTH - len(parts))

    def _enter(self, stack: ExitStack, folders: list[str]) -> int:
        """The descriptor of a folder; the stack closes all that were opened on the way."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, descriptor)
        for name in folders:
            descriptor = os.open(name, _FOLDER, dir_fd=descriptor)
            stack.callback(os.close, descriptor)
        return descriptor


def _split(path: str) -> list[str]:
    """The names on a path.

    Raises:
        ToolError: one of them may not stand there.
    """
    shown = path if len(path) <= 200 else f"{path[:200]}..."
    if "\0" in path or any(unicodedata.category(sign) == "Cs" for sign in path):
        raise ToolError(f"{shown!r} is no path: it has a character that no file name has.")
    if path.startswith("/"):
        raise ToolError(f"'{shown}' is an absolute path. Name files from the root of the documents, as list_files shows them.")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ToolError(f"'{shown}' leads upwards. Only files below the root of the documents can be read.")
    if any(part.startswith(".") for part in parts):
        raise ToolError(f"'{shown}' is hidden. Hidden files are not shown.")
    if len(parts) > _DEPTH:
        raise ToolError(f"'{shown}' is more than {_DEPTH} folders deep.")
    return parts


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """What the system refuses, for the model; it is told no more than that the file is not there or not readable."""
    shown = path if len(path) <= 200 else f"{path[:200]}..."
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise ToolError(f"There is no '{shown}' among the documents. Use the paths that list_files shows.") from None
    except OSError as error:
        raise ToolError(f"'{shown}' cannot be read ({error.strerror}). Use the paths that list_files shows.") from None


def _check(path: str, facts: os.stat_result, max_bytes: int) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise ToolError(f"'{path}' is a folder. Use list_files to see what is in it.")
    if not stat.S_ISREG(facts.st_mode):
        raise ToolError(f"'{path}' is no regular file, so it is not read.")
    if facts.st_size > max_bytes:
        raise ToolError(_too_large(path, facts.st_size, max_bytes))


def _too_large(path: str, size: int, max_bytes: int) -> str:
    return f"'{path}' is too large: {size:,} bytes, the limit is {max_bytes:,}."


def _walk(descriptor: int, prefix: str, depth: int) -> Iterator[Entry]:
    with os.scandir(descriptor) as found:
        entries = sorted((entry for entry in found if _showable(entry.name)), key=lambda entry: entry.name)
    for entry in entries:
        path = f"{prefix}/{entry.name}" if prefix else entry.name
        try:
            # Never from the entry's cache: it has no descriptor of the folder once the iterator is closed.
            facts = os.stat(entry.name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISREG(facts.st_mode):
                yield Entry(path, facts.st_size, facts.st_mtime_ns)
            elif stat.S_ISDIR(facts.st_mode) and depth > 0:
                inner = os.open(entry.name, _FOLDER, dir_fd=descriptor)
                try:
                    yield from _walk(inner, path, depth - 1)
                finally:
                    os.close(inner)
        except OSError:
            # It went away, or we may not look into it.
            continue


def _showable(name: str) -> bool:
    """Whether a name can be shown in a line of its own and be written by a model."""
    return not name.startswith(".") and not any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in name)
