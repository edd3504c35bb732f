"""Note: the agent marks the passages that it will cite, and only what it has been shown can be marked.

`note(quote, document, claim)` looks for the quote in everything that stands on the trajectory's path and came from a document: word for
word, but for case, white space and the shape of quotation marks. The passage as it was shown, its document and the claim are kept under
`meta["note"]` of the call in the trajectory, where rewards (`rewards/citations.py`) and reports find them. `read_notes` shows all notes
again, for example before the answer or in a new context.

The text is that of the path, so what the same turn asks for beside the note does not count yet, and a quote from an answer of the tool
itself, a calculation or a memory is no evidence. Not done here: whether the passage supports the claim.
"""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from spadework.core.errors import ToolError
from spadework.corpus.document import Corpus
from spadework.corpus.store import content_hash
from spadework.tools.function import tool
from spadework.tools.tool import Observation, Tool, ToolContext, ToolPart, current_label, current_shown, register

__all__ = ["NoteConfig"]

_SHAPES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " ", "\u2010": "-", "\u2011": "-"})
"""One character each, so that places in a text stay where they are."""


@register("note")
class NoteConfig(ToolPart):
    """Note passages that were shown, as evidence to cite."""

    max_notes: int = Field(default=50, ge=1)
    """Per trajectory."""
    max_chars: int = Field(default=1000, ge=1)
    """Of a quote."""

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """The tools `note` and `read_notes`. With a corpus, a document may also be named by its title."""
        return _Notes(self, context.corpus).tools()


class _Notes:
    """The notes of all trajectories that are open."""

    def __init__(self, config: NoteConfig, corpus: Corpus | None) -> None:
        self.config, self.corpus = config, corpus
        self.notes: dict[str, list[dict[str, str]]] = {}

    def forget(self, label: str) -> None:
        self.notes.pop(label, None)

    def version(self) -> str:
        return f"{content_hash(self.corpus) if self.corpus is not None else ''} {self.config!r}"

    def tools(self) -> list[Tool]:
        facts: dict[str, Any] = {"state": "notes", "content": False, "version": self.version, "settle": self.forget}

        @tool(shown=True, **facts)
        def note(quote: str, document: str = "", claim: str = "") -> Observation:
            """Note a passage as evidence, so that you can cite it.

            Args:
                quote: Word for word as it was shown to you.
                document: Title or id of the document it stands in; may be empty if only one document has it.
                claim: What it is evidence for.
            """
            return self.note(quote, document.strip(), claim.strip())

        @tool(**facts)
        def read_notes() -> str:
            """Read all passages that you have noted."""
            notes = self.notes.get(current_label(), [])
            return "\n".join(_line(number, kept) for number, kept in enumerate(notes, start=1)) or "Nothing is noted."

        return [note, read_notes]

    def note(self, quote: str, document: str, claim: str) -> Observation:
        if len(quote) > self.config.max_chars:
            raise ToolError(f"The quote has {len(quote)} characters; the limit is {self.config.max_chars}. Quote the words that matter.")
        passage, documents = self._find(quote)
        if document:
            found = self.corpus.get(document) if self.corpus is not None and document not in documents else None
            name = found.id if found is not None else document
            if name not in documents:
                raise ToolError(f"The quote was shown, but not in '{document}'. It stands in: {', '.join(documents)}.")
        elif len(documents) > 1:
            raise ToolError(f"The quote may stand in several documents: {', '.join(documents)}. Say which one.")
        else:
            name = documents[0]
        notes = self.notes.setdefault(current_label(), [])
        if len(notes) >= self.config.max_notes:
            raise ToolError(f"There are {len(notes)} notes; no more can be made. Answer with what is noted.")
        kept = {"quote": passage, "document": name, "claim": claim}
        notes.append(kept)
        return Observation(text=f"Noted as number {len(notes)}. Cite it as [{name}].", meta={"note": kept})

    def _find(self, quote: str) -> tuple[str, list[str]]:
        """The passage as it was shown, and the documents that it may stand in.

        Raises:
            ToolError: it was not shown.
        """
        words = quote.translate(_SHAPES).split()
        if not words:
            raise ToolError("The quote is empty. Write the words as they were shown to you.")
        pattern = re.compile(r"\s+".join(map(re.escape, words)), re.IGNORECASE)
        passage, documents = "", dict[str, None]()
        for seen in current_shown():
            if seen.documents and (match := pattern.search(seen.text.translate(_SHAPES))):
                passage = passage or seen.text[match.start() : match.end()]
                documents |= dict.fromkeys(seen.documents)
        if not documents:
            raise ToolError("This was not shown to you in any document. Quote word for word from a result, or read the document first.")
        # A list of results shows several documents; the corpus knows which of them has the words.
        having = [name for name in documents if (page := self._page(name)) is not None and pattern.search(page)]
        return passage, having or list(documents)

    def _page(self, name: str) -> str | None:
        found = self.corpus.get(name) if self.corpus is not None else None
        return None if found is None else found.text.translate(_SHAPES)


def _line(number: int, kept: dict[str, str]) -> str:
    claim = f"{kept['claim']}: " if kept["claim"] else ""
    return f'{number}. {claim}"{" ".join(kept["quote"].split())}" [{kept["document"]}]'
