"""BM25 over documents, by tantivy: in memory, or in a folder that is memory-mapped.

A document is its title, counted `TITLE_WEIGHT` times, and its text. Analysis: split at non-alphanumeric characters, lower-case, fold
accents, drop English stop words, Snowball stemmer. k1 = 1.2 and b = 0.75 are fixed in tantivy. A query is the OR of its distinct analysed
terms; it never goes through a query parser, so quotes, colons, AND and OR in it mean nothing. Equal scores are in document order.

One segment is written (up to about 2 GB of postings), so that tantivy's own tie-breaking by position is ours too. Not done: languages
without spaces between words, phrases, updates.
"""

import math
from collections.abc import Iterable
from pathlib import Path

import tantivy

from spadework.corpus.document import Document

__all__ = ["TITLE_WEIGHT", "Bm25Index", "analyse"]

TITLE_WEIGHT = 3
"""How often the title counts. On hotpotqa_dev500 R@5 is 77.7 with 1, 79.9 with 2, 82.0 with 3, 82.6 with 4; R@10 does not suffer."""
_WRITER_BYTES = 2_000_000_000
"""Flush threshold of the writer, not an allocation: what fits becomes one segment."""
_MAX_TERMS = 256
"""A query is cut here: a page pasted as a query must not stall the search."""
_CACHED_TERMS = 50_000


def _analyzer() -> tantivy.TextAnalyzer:
    filters = tantivy.Filter
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for step in (filters.lowercase(), filters.ascii_fold(), filters.stopword("english"), filters.stemmer("english")):
        builder = builder.filter(step)
    return builder.build()


_ANALYZER = _analyzer()
analyse = _ANALYZER.analyze
"""Text to analysed terms, in order, with repetitions."""


class Bm25Index:
    """A searchable form of documents, which it knows by their number (0, 1, ...) in the order in which they came."""

    def __init__(self, index: tantivy.Index) -> None:
        """Wrap a committed tantivy index; use `build` or `open`."""
        _register(index)
        index.reload()
        self._schema = index.schema
        self._searcher = index.searcher()
        self._terms: dict[str, tuple[tantivy.Query, float]] = {}

    @classmethod
    def build(cls, documents: Iterable[Document], folder: Path | None = None) -> "Bm25Index":
        """Index documents.

        Args:
            documents: read once, in order.
            folder: an existing empty folder to write to; None keeps the index in memory.
        """
        builder = tantivy.SchemaBuilder().add_unsigned_field("number", fast=True)
        builder = builder.add_text_field("text", tokenizer_name="spadework", index_option="freq")
        for key in ("id", "title"):
            builder = builder.add_text_field(key, tokenizer_name="whole", index_option="basic")
        index = tantivy.Index(builder.build(), path=None if folder is None else str(folder))
        _register(index)
        with index.writer(heap_size=_WRITER_BYTES, num_threads=1) as writer:  # commits and joins its threads, or rolls back
            for number, document in enumerate(documents):
                entry = tantivy.Document()
                entry.add_unsigned("number", number)
                entry.add_text("text", f"{document.title}\n" * TITLE_WEIGHT + document.text)
                entry.add_text("id", document.id)
                entry.add_text("title", document.title.casefold())
                writer.add_document(entry)
        return cls(index)

    @classmethod
    def open(cls, folder: Path) -> "Bm25Index":
        """Open a built index; its files are memory-mapped.

        Raises:
            ValueError: the folder holds no readable index.
        """
        index = tantivy.Index.open(str(folder))
        index.config_reader("manual")  # the default starts a thread that watches the folder
        return cls(index)

    def __len__(self) -> int:
        """Number of documents."""
        return self._searcher.num_docs

    def weights(self, query: str) -> dict[str, float]:
        """The idf (natural logarithm) of each distinct analysed term of a query, in the order of the query."""
        return {term: self._term(term)[1] for term in dict.fromkeys(analyse(query)[:_MAX_TERMS])}

    def search(self, terms: Iterable[str], limit: int) -> list[tuple[int, float]]:
        """Numbers and scores of the best documents for analysed terms, best first.

        Args:
            terms: distinct analysed terms, for example the keys of `weights`.
            limit: at most this many.
        """
        should = tantivy.Occur.Should
        clauses = [(should, self._term(term)[0]) for term in terms]
        if not clauses or limit < 1 or not len(self):
            return []
        hits = self._searcher.search(tantivy.Query.boolean_query(clauses), limit, count=False).hits
        # Summing in another order can move a score by a last bit: equal documents must stay equal.
        scores = [round(score, 4) for score, _ in hits]
        numbers = self._numbers([address for _, address in hits])
        return sorted(zip(numbers, scores, strict=True), key=lambda hit: (-hit[1], hit[0]))

    def find(self, key: str) -> int | None:
        """Number of the document with this id, else of the first with this title (case ignored), else None."""
        for name, value in (("id", key), ("title", key.casefold())):
            query = tantivy.Query.term_query(self._schema, name, value, "basic")
            hits = self._searcher.search(query, 1, count=False).hits
            if hits:
                return self._numbers([hits[0][1]])[0]
        return None

    def _numbers(self, addresses: list[tantivy.DocAddress]) -> list[int]:
        return self._searcher.fast_field_values("number", addresses)  # type: ignore[return-value]

    def _term(self, term: str) -> tuple[tantivy.Query, float]:
        known = self._terms.get(term)
        if known is None:
            if len(self._terms) >= _CACHED_TERMS:
                self._terms.clear()
            frequency = self._searcher.doc_freq("text", term)
            idf = math.log(1 + (len(self) - frequency + 0.5) / (frequency + 0.5))
            known = self._terms[term] = (tantivy.Query.term_query(self._schema, "text", term, "freq"), idf)
        return known


def _register(index: tantivy.Index) -> None:
    index.register_tokenizer("spadework", _ANALYZER)
    index.register_tokenizer("whole", tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw()).build())
