"""Files: the documents that a user has put into a folder, listed, searched, and read in parts.

Markdown, HTML, PDF and text are read as a corpus is (`corpus/ingest.py`); any other file is shown if it is UTF-8 text. Nothing outside of
the folder can be reached (`tools/confined.py`). A path with a part, `notes.md#2`, stands in one argument, as in `tools/read.py`. What is
shown of a file counts as its document, by its path, so it can be noted and cited like a page.

Search is BM25 over all files that can be read, indexed at the first search and again when files have changed. Reading and
indexing happen in a thread, under the gateway's deadline. Not done here: writing, OCR, archives, spreadsheets.
"""

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from spadework.core.errors import InputError, ToolError
from spadework.corpus.document import Document
from spadework.corpus.ingest import READABLE, parse_page
from spadework.corpus.store import MemoryCorpus
from spadework.tools.confined import Confined, Entry
from spadework.tools.function import tool
from spadework.tools.read import parts
from spadework.tools.tool import Observation, Tool, ToolContext, ToolPart, Usage, register

__all__ = ["FilesConfig"]

_LISTED = 200
_SEARCHED = 5000
"""Most files in the index."""
_WALKED = 50_000
"""Most files that are looked at."""


@register("files")
class FilesConfig(ToolPart):
    """List, search and read the documents of a folder, and nothing outside of it."""

    root: Path
    """The folder."""
    max_chars: int = Field(default=4000, ge=100)
    """Characters per part. Keep it below the gateway's `max_chars`, which cuts without a way to go on."""
    max_bytes: int = Field(default=20_000_000, gt=0)
    """Larger files are not read."""
    limit: int = Field(default=5, ge=1)
    """Number of search results."""

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """The tools `list_files`, `search_files` and `read_file`."""
        return _Files(self).tools()


@dataclass(frozen=True)
class _Index:
    entries: tuple[Entry, ...]
    corpus: MemoryCorpus | None
    skipped: tuple[str, ...]


class _Files:
    def __init__(self, config: FilesConfig) -> None:
        self.config = config
        self.folder = Confined(config.root)
        self._index = _Index((), None, ())
        self._lock = threading.Lock()

    def tools(self) -> list[Tool]:
        facts: dict[str, Any] = {"version": self._version}

        @tool(**facts)
        async def list_files(folder: str = "") -> Observation:
            """List the user's documents.

            Args:
                folder: A folder from the root of the documents; empty for all.
            """
            return await asyncio.to_thread(self._list, folder)

        @tool(**facts)
        async def search_files(query: str) -> Observation:
            """Search the text of the user's documents. Returns the best ones, one per line, each with its best passage.

            Args:
                query: Names and words that the document would contain.
            """
            return await asyncio.to_thread(self._search, query)

        @tool(**facts)
        async def read_file(path: str) -> Observation:
            """Read a document of the user.

            Args:
                path: As list_files and search_files show it; `notes.md#2` is its second part.
            """
            return await asyncio.to_thread(self._read, path)

        return [list_files, search_files, read_file]

    def _version(self) -> str:
        """A result depends on all files and on the options, but not on where the folder stands."""
        digest = hashlib.blake2b(digest_size=16)
        for entry in self.folder.entries():
            digest.update(f"{entry.path}\0{entry.size}\0".encode())
            if entry.size <= self.config.max_bytes:
                digest.update(hashlib.blake2b(self.folder.read(entry.path, self.config.max_bytes)).digest())
        return f"{digest.hexdigest()} {self.config.max_chars} {self.config.max_bytes} {self.config.limit}"

    def _list(self, folder: str) -> Observation:
        entries = list(islice(self.folder.entries(folder), _WALKED))
        lines = [f"{entry.path} ({_size(entry.size)})" for entry in entries[:_LISTED]]
        if len(entries) > _LISTED:
            lines.append(f"[{len(entries) - _LISTED} more files; name a folder, or search]")
        return Observation(text="\n".join(lines) or "There are no documents here.")

    def _search(self, query: str) -> Observation:
        if not query.strip():
            raise ToolError("The query is empty. Write what to look for.")
        index = self._current_index()
        hits = index.corpus.search(query, limit=self.config.limit) if index.corpus is not None else ()
        lines = [f"{hit.id}: {' | '.join(' '.join(line.split()) for line in hit.snippet.splitlines() if line.strip())}" for hit in hits]
        if not lines:
            lines.append("No results.")
        if index.skipped:
            lines.append(f"[{len(index.skipped)} files cannot be searched, for example {index.skipped[0]}]")
        return Observation(text="\n".join(lines), documents=tuple(hit.id for hit in hits))

    def _current_index(self) -> _Index:
        with self._lock:
            entries = tuple(islice(self.folder.entries(), _WALKED))
            if entries != self._index.entries:
                documents, skipped = [], [entry.path for entry in entries[_SEARCHED:]]
                for entry in entries[:_SEARCHED]:
                    try:
                        documents.append(self._document(entry.path)[0])
                    except ToolError:
                        skipped.append(entry.path)
                self._index = _Index(entries, MemoryCorpus(documents) if documents else None, tuple(skipped))
            return self._index

    def _read(self, path: str) -> Observation:
        path, number = path.strip(), 1
        try:
            document, size = self._document(path)
        except ToolError:
            # A name may itself end in a number sign and digits, so the whole name comes first.
            name, sign, digits = path.rpartition("#")
            if not sign or not digits.isascii() or not digits.isdigit() or len(digits) > 9:
                raise
            (document, size), number = self._document(name), int(digits)
        texts = parts(document.text, self.config.max_chars)
        if not 1 <= number <= len(texts):
            raise ToolError(f"'{document.id}' has {len(texts)} part{'s' if len(texts) > 1 else ''}; there is no part {number}.")
        text = texts[number - 1]
        if number < len(texts):
            text += f"\n[part {number} of {len(texts)}; read '{document.id}#{number + 1}' to go on]"
        return Observation(text=text, documents=(document.id,), usage=Usage(bytes=size))

    def _document(self, path: str) -> tuple[Document, int]:
        """A file as a document whose id is its path, and its size in bytes.

        Raises:
            ToolError: it cannot be read.
        """
        raw = self.folder.read(path, self.config.max_bytes)
        name = "/".join(part for part in path.split("/") if part not in ("", "."))
        if Path(name).suffix.lower() not in READABLE:
            return Document(id=name, title=name, text=_plain(raw, name)), len(raw)
        try:
            page = parse_page(raw, name, f"'{name}'")
        except InputError as error:
            raise ToolError(str(error).partition(";")[0]) from None
        text = page.text if page.title in page.text or page.title == Path(name).stem else f"{page.title}\n\n{page.text}"
        return Document(id=name, title=name, text=text), len(raw)


def _plain(raw: bytes, name: str) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ToolError(f"'{name}' is no text ({len(raw):,} bytes). Read text, Markdown, HTML or PDF.")
    if not text.strip():
        raise ToolError(f"'{name}' is empty.")
    return text


def _size(count: int) -> str:
    return f"{count} bytes" if count < 1000 else f"{count / 1000:.3g} kB" if count < 1_000_000 else f"{count / 1_000_000:.3g} MB"
