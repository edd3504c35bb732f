"""Corpora that can be searched: in memory, or in a folder that is read lazily.

A corpus folder holds `documents.jsonl` (one document per line), `offsets.npy` (where each line starts), `index/` (BM25), `dense/` (vectors,
if an encoder was given) and `manifest.json` (schema version, content hash, counts, settings). It is written under another name and then
renamed, so a folder with a manifest is whole. Opening one reads the manifest only; documents, postings and vectors are memory-mapped, so a
corpus may be larger than memory.

The content hash covers the documents in their order and nothing else. Not done: adding to or deleting from a built corpus.
"""

import hashlib
import json
import mmap
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spadework.core.config import Config
from spadework.core.errors import InputError
from spadework.corpus.dense import DenseIndex
from spadework.corpus.document import Document, Hit
from spadework.corpus.encoder import Encoder
from spadework.corpus.index import TITLE_WEIGHT, Bm25Index, analyse
from spadework.corpus.ingest import read_documents
from spadework.corpus.snippet import SnippetConfig, Unit, best_units, split_units

__all__ = ["IndexedCorpus", "Manifest", "MemoryCorpus", "StoredCorpus", "build_corpus", "content_hash", "open_corpus"]

SCHEMA = 1
_CACHED_PAGES = 20_000
"""Pages whose units are kept analysed; about 5 kB each."""


class _Page(NamedTuple):
    id: str
    title: str
    units: list[Unit]


class IndexedCorpus(ABC):
    """Search and look-up, given an index and documents by number."""

    def __init__(self, index: Bm25Index, snippets: SnippetConfig) -> None:
        self._index = index
        self.snippets = snippets
        self._page = lru_cache(maxsize=_CACHED_PAGES)(self._analysed)

    @abstractmethod
    def document(self, number: int) -> Document:
        """The document with this number, 0 <= number < len."""

    def _analysed(self, number: int) -> _Page:
        document = self.document(number)
        return _Page(document.id, document.title, split_units(document.text, analyse, chars=self.snippets.chars))

    def __len__(self) -> int:
        """Number of documents."""
        return len(self._index)

    def __iter__(self) -> Iterator[Document]:
        """All documents in a fixed order."""
        return (self.document(number) for number in range(len(self)))

    def get(self, key: str) -> Document | None:
        """The document with this id, else the first with exactly this title (case ignored), else None."""
        number = self._index.find(key)
        return None if number is None else self.document(number)

    def search(self, query: str, *, limit: int = 5) -> Sequence[Hit]:
        """The best documents for a query, best first, each with its best units; ties are broken by document order.

        Args:
            query: plain words; no operator means anything.
            limit: at most this many hits. Documents without a query term are no hits.
        """
        return self.hits(query, self.rank(query, limit))

    def rank(self, query: str, limit: int) -> list[tuple[int, float]]:
        """Numbers and BM25 scores of the best documents, best first."""
        return self._index.search(self._index.weights(query), limit)

    def hits(self, query: str, ranked: Iterable[tuple[int, float]]) -> list[Hit]:
        """What is shown of documents that were ranked for a query, given their numbers and scores."""
        weights = self._index.weights(query)
        hits = []
        for number, score in ranked:
            page = self._page(number)
            hits.append(Hit(id=page.id, title=page.title, score=score, snippet=best_units(page.units, weights, self.snippets)))
        return hits


class MemoryCorpus(IndexedCorpus):
    """A corpus in memory."""

    def __init__(self, documents: Iterable[Document], *, snippets: SnippetConfig | None = None) -> None:
        """Index documents.

        Args:
            documents: read once.
            snippets: how much of a page a hit shows.

        Raises:
            InputError: two documents have the same id.
        """
        self._documents = list(documents)
        seen: set[str] = set()
        for document in self._documents:
            if document.id in seen:
                raise InputError(f"document id '{document.id}' occurs twice; ids must be unique")
            seen.add(document.id)
        super().__init__(Bm25Index.build(self._documents), snippets or SnippetConfig())

    def document(self, number: int) -> Document:
        """The document with this number, 0 <= number < len."""
        return self._documents[number]


class Manifest(Config):
    """What a corpus folder says about itself."""

    schema_version: int
    """Format of the folder."""
    documents: int
    """Number of documents."""
    characters: int
    """Characters of all texts."""
    content_hash: str
    """See `content_hash`."""
    title_weight: int
    """How often a title counted when the index was built."""
    snippets: SnippetConfig
    """How much of a page a hit shows."""


class StoredCorpus(IndexedCorpus):
    """A corpus in a folder; use `open_corpus`."""

    def __init__(self, folder: Path, manifest: Manifest, index: Bm25Index, *, snippets: SnippetConfig | None = None) -> None:
        """Map the files of a folder that `open_corpus` has checked."""
        super().__init__(index, snippets or manifest.snippets)
        self.folder = folder
        self.manifest = manifest
        self._offsets = np.load(folder / "offsets.npy", mmap_mode="r")
        with (folder / "documents.jsonl").open("rb") as file:
            self._rows = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if manifest.documents else b""

    def document(self, number: int) -> Document:
        """The document with this number, 0 <= number < len."""
        start, end = self._offsets[number : number + 2]
        return Document.model_validate_json(self._rows[start:end])


def _line(document: Document) -> bytes:
    """A document as one line of JSON; the bytes that are stored and hashed."""
    return json.dumps(document.model_dump(exclude_defaults=True), ensure_ascii=False, sort_keys=True).encode() + b"\n"


def content_hash(documents: Iterable[Document]) -> str:
    """Hash of documents and their order: equal for a corpus in memory, in a folder and in the file it was built from."""
    if isinstance(documents, StoredCorpus):
        return documents.manifest.content_hash
    digest = hashlib.blake2b(digest_size=16)
    for document in documents:
        digest.update(_line(document))
    return digest.hexdigest()


def build_corpus(
    source: Path | Iterable[Document], out: Path, *, snippets: SnippetConfig | None = None, encoder: Encoder | None = None
) -> StoredCorpus:
    """Write a corpus folder in one pass over the documents.

    Args:
        source: what `read_documents` reads, or documents.
        out: the folder. A corpus that stands there is replaced once the new one is whole.
        snippets: how much of a page a hit shows.
        encoder: writes vectors beside the BM25 index, for dense and hybrid search; None writes none.

    Raises:
        InputError: the source is bad or empty, an id occurs twice, or `out` holds something that is not a corpus.
    """
    if out.exists() and not (out / "manifest.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is not a corpus folder; choose another folder")
    part = out.parent / f"{out.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        _write(read_documents(source) if isinstance(source, Path) else source, part, snippets or SnippetConfig())
        if encoder is not None:
            (part / "dense").mkdir()
            DenseIndex.build(open_corpus(part), encoder, part / "dense")
        if out.exists():
            shutil.rmtree(out)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return open_corpus(out)


def _write(documents: Iterable[Document], part: Path, snippets: SnippetConfig) -> None:
    (part / "index").mkdir(parents=True)
    digest = hashlib.blake2b(digest_size=16)
    offsets, characters = [0], 0
    seen: set[str] = set()

    with (part / "documents.jsonl").open("wb") as file:

        def written() -> Iterator[Document]:
            nonlocal characters
            for document in documents:
                if document.id in seen:
                    raise InputError(f"document id '{document.id}' occurs twice; ids must be unique")
                seen.add(document.id)
                line = _line(document)
                file.write(line)
                digest.update(line)
                offsets.append(offsets[-1] + len(line))
                characters += len(document.text)
                yield document

        Bm25Index.build(written(), part / "index")
    np.save(part / "offsets.npy", np.array(offsets, dtype=np.int64))
    manifest = Manifest(
        schema_version=SCHEMA,
        documents=len(seen),
        characters=characters,
        content_hash=digest.hexdigest(),
        title_weight=TITLE_WEIGHT,
        snippets=snippets,
    )
    (part / "manifest.json").write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def open_corpus(folder: Path, *, snippets: SnippetConfig | None = None) -> StoredCorpus:
    """Open a corpus folder.

    Args:
        folder: written by `build_corpus`.
        snippets: instead of the settings that it was built with.

    Raises:
        InputError: the folder is missing, is no corpus, is damaged, or is of another schema version.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise InputError(f"{folder}: not a corpus folder (no manifest.json); build one with `spadework corpus build`")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); build the corpus again") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA:
        raise InputError(f"{path}: schema version {version}, this package reads {SCHEMA}; build the corpus again")
    manifest = Manifest.parse(values, source=str(path))
    try:
        corpus = StoredCorpus(folder, manifest, Bm25Index.open(folder / "index"), snippets=snippets)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: damaged corpus ({error}); build it again") from None
    if len(corpus) != manifest.documents:
        raise InputError(f"{folder}: damaged corpus ({len(corpus)} documents indexed, {manifest.documents} expected); build it again")
    return corpus
